"""Jobs made elsewhere become specs that adopt them."""
