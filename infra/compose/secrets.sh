#!/bin/sh
# Makes what compose.yaml wants in the folder `secrets` beside it, unless it is there: random
# passwords, and a certificate for https://localhost. Only you can enter the folder; inside of a
# container, its user can read the files that are mounted there.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
for name in store_owner store_job store_reader grafana_admin author_key; do
  [ -s "secrets/$name" ] || openssl rand -hex 24 | tr -d '\n' > "secrets/$name"
done
if [ ! -s secrets/console_certificate ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
    -keyout secrets/console_key -out secrets/console_certificate 2> /dev/null
fi
chmod 0444 secrets/*
