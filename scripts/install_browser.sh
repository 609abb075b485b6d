#!/usr/bin/env bash
# Install the browser that the dashboard's tests look with: Debian's headless Chromium, where there is none yet.
set -euo pipefail
for name in chromium-headless-shell chromium google-chrome; do
  if command -v "$name" >/dev/null; then
    echo "$name is here already."
    exit
  fi
done
as_root=$([ "$(id -u)" = 0 ] || echo sudo)
$as_root apt-get update -qq
if [ -n "$(apt-cache search --names-only '^chromium-headless-shell$')" ]; then
  $as_root apt-get install -qq --no-install-recommends chromium-headless-shell
else
  $as_root apt-get install -qq --no-install-recommends chromium
fi
