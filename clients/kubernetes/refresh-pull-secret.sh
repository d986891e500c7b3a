#!/bin/sh
{ # A shell runs nothing of this before it has read the brace at the end: a copy that is cut off fails and does nothing.
# Write fresh registry credentials into an imagePullSecret: one run of the CronJob in pull-secret.yaml.
# Settings beside those of acr-token.sh: PULL_SECRET, its name, and SERVICE_ACCOUNT_DIR, where Kubernetes mounts the
# credentials for its own API.

set +x
set -eu
umask 077

: "${PULL_SECRET:?}" "${KUBERNETES_SERVICE_HOST:?}" "${KUBERNETES_SERVICE_PORT:?}"
account=${SERVICE_ACCOUNT_DIR:-/var/run/secrets/kubernetes.io/serviceaccount}
namespace=$(cat "$account/namespace")
host=$KUBERNETES_SERVICE_HOST
case $host in *:*) host="[$host]" ;; *) ;; esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sh "$(dirname "$0")/acr-token.sh" docker-config >"$work/config.json"
[ -s "$work/config.json" ] || exit 1
{
  printf '{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "%s"}, ' "$PULL_SECRET"
  printf '"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "'
  base64 <"$work/config.json" | tr -d '\r\n'
  printf '"}}'
} >"$work/secret"
{ printf 'Authorization: Bearer ' && tr -d '\r\n' <"$account/token"; } >"$work/authorization"

# Server-side apply creates the secret or replaces what it said, without reading it.
status=$(curl -q --silent --show-error --proto =https --max-redirs 0 --max-time 30 --cacert "$account/ca.crt" \
  --request PATCH --header "@$work/authorization" --header 'Content-Type: application/apply-patch+yaml' \
  --data-binary "@$work/secret" --output "$work/answer" --write-out '%{http_code}' \
  "https://$host:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/$namespace/secrets/$PULL_SECRET?fieldManager=acr-token-vending&force=true")
case $status in
  200 | 201) echo "wrote the secret $namespace/$PULL_SECRET" ;;
  *)
    echo "the Kubernetes API answered HTTP $status to the secret $namespace/$PULL_SECRET; may this service account patch it?" >&2
    exit 1
    ;;
esac
exit
}
