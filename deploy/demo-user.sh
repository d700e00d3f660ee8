#!/bin/bash
# demo-user [EMAIL]: makes a user with the store's command line and prints the
# key, the log-in to the dashboard and curl lines of the documented API, each on
# one line so that it can be pasted from behind the prefix that compose puts
# before a log line.
#
# On a kept database the usual demo user exists, and its key was shown when it
# was made; another user is made then, so that every start ends with a key.
set -euo pipefail
gateway=${GATEWAY_URL:?the address of the gateway for the printed lines}
dashboard=${DASHBOARD_URL:?the address of the dashboard for the printed lines}
email=${1:-demo@example.com}
password=$(head -c 10 /dev/urandom | od -An -v -tx1 | tr -d ' \n')

add_user() { # by standard input: every process may read the arguments of others
  printf '%s' "$password" | rekey-store users add --email "$email" --password-stdin
}
if ! made=$(add_user 2>/dev/null); then
  email="${email%@*}+$(date -u +%Y%m%d%H%M%S)@${email#*@}"
  made=$(add_user)
fi
key=$(sed -n 's/^api_key: //p' <<<"$made")
user=$(sed -n 's/^user_id: //p' <<<"$made")
if [ -z "$key" ] || [ -z "$user" ]; then
  echo "rekey-store printed no user and key" >&2
  exit 1
fi

once=$(head -c 16 /dev/urandom | od -An -v -tx1 | tr -d ' \n')

cat <<LINES

Rekey is ready. A demo user was made; key and password are shown this once.

  email    $email
  user_id  $user
  api_key  $key

Call the API behind the gateway (costs one credit):
  curl "$gateway/v1/echo" -H "Authorization: Bearer $key"

Regenerate the key (costs none; the old key is dead when the answer is here).
Should the answer get lost, repeat this very line within ten minutes:
  curl -X POST "$gateway/v1/user/api-key/regenerate" -H "Idempotency-Key: $once" -H "Authorization: Bearer $key" -H "Content-Type: application/json"

Then the first line gets 401, and with the new key it gets its answer; a second
regeneration with the new key gets 429, for an hour.

Or regenerate it in a browser, under the same limit: log in, and go to
Settings → Profile → Regenerate API Key.

  dashboard  $dashboard
  email      $email
  password   $password
LINES
