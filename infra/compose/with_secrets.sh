#!/bin/sh
# Runs a command with its secrets in the environment: of each NAME_FILE below, what is in that file.
set -eu
for name in PGPASSWORD FORESHOCK_PASSWORD FORESHOCK_AUTHOR_KEY FORESHOCK_CONSOLE__OIDC__CLIENT_SECRET; do
  eval "file=\${${name}_FILE:-}"
  [ -n "$file" ] || continue
  value=$(cat "$file")
  export "$name=$value"
  unset "${name}_FILE"
done
exec "$@"
