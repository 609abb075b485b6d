"""The wire: types shared with the server, the client, files, retries."""
