#!/usr/bin/env bash
# The user of the environment takes the place of `guest`.
set -euo pipefail
printf 'default_user = %s\ndefault_pass = %s\nlisteners.tcp.default = 5672\n' "$RABBITMQ_DEFAULT_USER" "$RABBITMQ_DEFAULT_PASS" \
  >/etc/rabbitmq/conf.d/10-default.conf
exec /usr/lib/rabbitmq/bin/rabbitmq-server
