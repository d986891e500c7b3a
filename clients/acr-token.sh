#!/bin/sh
# Trade this CI job's OIDC token for a short-lived Azure Container Registry token.
# Needs a POSIX shell, curl 7.55 or newer, and awk. It holds no secret of its own.
#
#   eval "$(sh acr-token.sh login)"  write credentials into a private copy of the docker configuration and
#                                    print the `export DOCKER_CONFIG=...` line that makes clients use it
#   sh acr-token.sh token            print the registry token
#   sh acr-token.sh docker-config    print a docker configuration with these credentials alone
#   sh acr-token.sh github-action    what the composite action runs
#   sh acr-token.sh azure-pipelines  what the Azure Pipelines template runs
#
# Settings are environment variables:
#   ACR_VENDING_URL            the vending service: an https URL (plain http for loopback only)
#   ACR_VENDING_SCOPE          repository:web/api:pull,push and so on; without it, what the policy lists for this job
#   ACR_VENDING_REGISTRY       the registry's name in the policy, or its host; without it, the policy's only one
#   ACR_VENDING_AUDIENCE       the `aud` of the OIDC token; without it, the one that the service publishes, provided
#                              that it has the origin of ACR_VENDING_URL
#   ACR_VENDING_ID_TOKEN       the OIDC token, where the platform hands it over in a variable
#   ACR_VENDING_ID_TOKEN_FILE  the same in a file, read anew at every attempt
#   ACR_VENDING_DOCKER_CONFIG  the directory that `login` creates; without it, one under the job's temporary directory
#   ACR_VENDING_LOGIN          github-action and azure-pipelines: true or false; github-action: or helper, which makes
#                              docker-credential-acr-vending beside this file renew the credentials
#   ACR_VENDING_MAX_ATTEMPTS, ACR_VENDING_RETRY_SECONDS   4 and 2: tries, and the first wait, which then doubles

set +x # whoever traces the calling script must not trace tokens
set -u
umask 077
LC_ALL=C
export LC_ALL

# A larger wait than this tells more about the service than about patience.
longest_wait=60
grant_type=urn:ietf:params:oauth:grant-type:token-exchange
jwt_type=urn:ietf:params:oauth:token-type:jwt
access_type=urn:ietf:params:oauth:token-type:access_token

# --- JSON (RFC 8259), in awk: every runner has it, and no field is cut out with a pattern that a hostile value could fool ---

# shellcheck disable=SC2016 # the dollar signs are awk's
json_awk='
function skip() { while (p <= n && index(" \t\r\n", substr(s, p, 1))) p++ }
function expect(c) { skip(); if (substr(s, p, 1) != c) exit 2; p++ }
function hex(  i, d, v) {
  for (i = 0; i < 4; i++) {
    d = index("0123456789abcdef", tolower(substr(s, p++, 1)))
    if (!d) exit 2
    v = v * 16 + d - 1
  }
  return v
}
function bytes(c) {
  if (c < 128) return sprintf("%c", c)
  if (c < 2048) return sprintf("%c%c", 192 + int(c / 64), 128 + c % 64)
  if (c < 65536) return sprintf("%c%c%c", 224 + int(c / 4096), 128 + int(c / 64) % 64, 128 + c % 64)
  return sprintf("%c%c%c%c", 240 + int(c / 262144), 128 + int(c / 4096) % 64, 128 + int(c / 64) % 64, 128 + c % 64)
}
function rune(  c, d) {
  c = hex()
  if (c >= 55296 && c < 56320 && substr(s, p, 2) == "\\u") {
    p += 2
    d = hex()
    c = d >= 56320 && d < 57344 ? 65536 + (c - 55296) * 1024 + d - 56320 : 65533
  }
  return bytes(c == 0 || (c >= 55296 && c < 57344) ? 65533 : c)
}
function string(  out, c, i) {
  expect("\"")
  out = ""
  while (p <= n) {
    c = substr(s, p++, 1)
    if (c == "\"") return out
    if (c != "\\") {
      if (index(control, c)) exit 2
      out = out c
      continue
    }
    c = substr(s, p++, 1)
    if (c == "u") {
      out = out rune()
      continue
    }
    i = c == "" ? 0 : index("\"\\/bfnrt", c)
    if (!i) exit 2
    out = out substr("\"\\/\b\f\n\r\t", i, 1)
  }
  exit 2
}
function value(depth,  c, end) {
  if (depth > 64) exit 2
  skip()
  c = substr(s, p, 1)
  if (c == "\"") {
    string()
    return "string"
  }
  if (c != "{" && c != "[") {
    if (!match(substr(s, p, 64), /^(true|false|null|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?)/)) exit 2
    p += RLENGTH
    return c == "n" ? "null" : index("tf", c) ? "boolean" : "number"
  }
  end = c == "{" ? "}" : "]"
  p++
  skip()
  if (substr(s, p, 1) == end) {
    p++
    return end
  }
  do {
    if (end == "}") {
      string()
      expect(":")
    }
    value(depth + 1)
    skip()
    c = substr(s, p++, 1)
  } while (c == ",")
  if (c != end) exit 2
  return end
}
# Read the object in text into count, key[], name[] (as written), kind[] and raw[].
function members(text,  c, start, seen) {
  s = text
  n = length(s)
  p = 1
  count = 0
  expect("{")
  skip()
  if (substr(s, p, 1) == "}") p++
  else {
    do {
      skip()
      start = p
      key[++count] = string()
      name[count] = substr(s, start, p - start)
      if (key[count] in seen) exit 2
      seen[key[count]] = 1
      expect(":")
      skip()
      start = p
      kind[count] = value(1)
      raw[count] = substr(s, start, p - start)
      skip()
      c = substr(s, p++, 1)
    } while (c == ",")
    if (c != "}") exit 2
  }
  skip()
  if (p <= n) exit 2
}
function find(wanted,  i) {
  for (i = 1; i <= count; i++) if (key[i] == wanted && kind[i] != "null") return i
  return 0
}
# The strings of an array, or a single string, one a line.
function strings(text,  c) {
  s = text
  n = length(s)
  p = 1
  if (substr(s, 1, 1) == "\"") return string() "\n"
  text = ""
  expect("[")
  skip()
  if (substr(s, p, 1) == "]") return text
  do {
    skip()
    text = text string() "\n"
    skip()
    c = substr(s, p++, 1)
  } while (c == ",")
  return text
}
function base64url(t,  i, v, have, held, byte, rest, out) {
  for (i = 1; i <= length(t); i++) {
    v = index("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", substr(t, i, 1)) - 1
    if (v < 0) exit 2
    held = held * 64 + v
    have += 6
    if (have >= 8) {
      have -= 8
      rest = have == 4 ? 16 : have == 2 ? 4 : 1 # busybox may lack the power operator
      byte = int(held / rest)
      held -= byte * rest
      if (!byte) exit 2
      out = out sprintf("%c", byte)
    }
  }
  return out
}
BEGIN {
  for (i = 1; i < 32; i++) control = control sprintf("%c", i)
  ORS = ""
}
{ input = input (FNR > 1 ? "\n" : "") $0 }
'

# json FILE KEY [string|number|strings]: print a member of the object in FILE. 1: it has none (of that kind); 2: no JSON object.
json() {
  # shellcheck disable=SC2016
  awk -v wanted="$2" -v type="${3:-string}" "$json_awk"'
    END {
      members(input)
      i = find(wanted)
      if (!i) exit 1
      if (type == "strings" && (kind[i] == "string" || kind[i] == "]")) print strings(raw[i])
      else if (kind[i] != type) exit 1
      else if (type == "string") {
        text = strings(raw[i])
        print substr(text, 1, length(text) - 1)
      } else print raw[i]
    }' "$1"
}

# jwt_audience FILE: print the `aud` of the JWT in FILE if it is exactly one. The signature is the service's to check.
jwt_audience() {
  # shellcheck disable=SC2016
  awk "$json_awk"'
    END {
      if (split(input, part, ".") != 3) exit 2
      members(base64url(part[2]))
      i = find("aud")
      if (!i || (kind[i] != "string" && kind[i] != "]")) exit 1
      audience = strings(raw[i])
      if (index(audience, "\n") != length(audience)) exit 1
      print substr(audience, 1, length(audience) - 1)
    }' "$1"
}

# json_put FILE SECTION HOSTS [TEXT-FILE]: print the object in FILE with SECTION's members for these space-separated hosts,
# in any spelling of them, replaced by the JSON text in TEXT-FILE, or removed. Everything else stays as it is written.
json_put() {
  # shellcheck disable=SC2016
  section=$2 hosts=$3 text_file=${4-} awk "$json_awk"'
    function host_of(text) {
      sub(/^https?:\/\//, "", text)
      sub(/\/.*/, "", text)
      return text
    }
    END {
      section = ENVIRON["section"]
      text_file = ENVIRON["text_file"]
      if (text_file != "") while ((getline line < text_file) > 0) text = text line
      m = split(ENVIRON["hosts"], host, " ")
      for (i = 1; i <= m; i++) ours[host[i]] = 1
      if (input ~ /^[ \t\r\n]*$/) input = "{}"
      members(input)
      for (i = 1; i <= count; i++) {
        if (key[i] != section) out = out "  " name[i] ": " raw[i] ",\n"
        else if (kind[i] == "}") inner = raw[i]
        else if (kind[i] != "null") exit 2
      }
      members(inner == "" ? "{}" : inner)
      comma = ""
      out = "{\n" out "  \"" section "\": {"
      for (i = 1; i <= count; i++) {
        if (host_of(key[i]) in ours) continue
        out = out comma "\n    " name[i] ": " raw[i]
        comma = ","
      }
      for (i = 1; i <= m && text != ""; i++) {
        out = out comma "\n    \"" host[i] "\": " text
        comma = ","
      }
      print out "\n  }\n}\n"
    }' "$1"
}

# --- what people read: on stderr, in the platform's own form ---

# One line, with what the platform would take for a command escaped and other control characters gone.
escaped() {
  printf '%s' "$1" | tr -d '\000-\010\013\014\016-\037\177' | awk -v form="$2" '
    BEGIN { ORS = "" }
    NR > 1 { print (form == "" ? " " : "%0A") }
    {
      gsub(/%/, (form == "azure" ? "%AZP25" : form == "github" ? "%25" : "%"))
      gsub(/\r/, (form == "" ? " " : "%0D"))
      print
    }'
}

report() { # error|warning MESSAGE
  if [ "${GITHUB_ACTIONS-}" = true ]; then
    printf '::%s title=ACR token::%s\n' "$1" "$(escaped "$2" github)" >&2
  elif [ -n "${TF_BUILD-}" ]; then
    printf '##vso[task.logissue type=%s]%s\n' "$1" "$(escaped "$2" azure)" >&2
  else
    printf 'acr-token: %s: %s\n' "$1" "$(escaped "$2" '')" >&2
  fi
}

die() {
  report error "$1"
  # `eval "$(... login)"` would hide our exit code; the word makes the eval itself fail.
  [ "$command" != login ] || echo false
  exit 1
}

# Tell the platform to hide what FILE holds, before anything can print it.
mask() {
  if [ "${GITHUB_ACTIONS-}" = true ]; then
    { printf '::add-mask::' && cat "$1" && echo; } >&2
  elif [ -n "${TF_BUILD-}" ]; then
    { printf '##vso[task.setsecret]' && cat "$1" && echo; } >&2
  fi
}

# --- HTTP ---

# Print scheme://host:port of a URL, the port written out; fail where that is not beyond doubt (user info, odd characters).
origin() {
  case $1 in
    *[!!-~]* | *\\* | *\"* | *@*) return 1 ;;
    https://?*) scheme=https port=443 ;;
    http://?*) scheme=http port=80 ;;
    *) return 1 ;;
  esac
  authority=${1#*://}
  authority=$(printf '%s' "${authority%%[/?#]*}" | tr '[:upper:]' '[:lower:]')
  case $authority in
    \[*\]) host=$authority ;;
    \[*\]:?*) host=${authority%:*} port=${authority##*:} ;;
    *:?*) host=${authority%%:*} port=${authority#*:} ;;
    *) host=$authority ;;
  esac
  case $host in
    \[*\]) case $host in \[*[!0-9a-f:.]*\]) return 1 ;; esac ;;
    '' | *[!a-z0-9.-]*) return 1 ;;
  esac
  case $port in *[!0-9]*) return 1 ;; esac
  printf '%s://%s:%s' "$scheme" "$host" "$port"
}

# Whether a token may travel to this URL: https, or plain http that never leaves the machine.
safe_url() {
  case $(origin "$1") in
    https://*) return 0 ;;
    http://127.0.0.1:* | http://localhost:* | http://\[::1\]:*) return 0 ;;
    *) return 1 ;;
  esac
}

# fetch URL CURL-ARGUMENTS...: leave body and headers in the work directory and set `status`; fail with `problem` and
# `retry` set. Secrets reach curl in files, never as arguments; ~/.curlrc is not read; a redirect is an answer, not followed.
fetch() {
  fetch_url=$1
  shift
  rm -f "$work/body" "$work/headers"
  : >"$work/body"
  curl_exit=0
  status=$(curl -q --silent --show-error --proto "=${fetch_url%%:*}" --max-redirs 0 --connect-timeout 10 --max-time 45 \
    --max-filesize 1048576 --dump-header "$work/headers" --output "$work/body" --write-out '%{http_code}' \
    "$@" "$fetch_url" 2>"$work/curl") || curl_exit=$?
  # A body that breaks off leaves the 200 standing; the exit code tells.
  case $curl_exit in
    0) return 0 ;;
    5 | 6 | 7 | 16 | 18 | 28 | 35 | 52 | 55 | 56 | 92) retry=yes ;; # the network's failures; the rest will fail again
    *) retry=no ;;
  esac
  problem="no answer from $(origin "$fetch_url"): $(cat "$work/curl")"
  return 1
}

# Set `problem` and `retry` from an answer that is not a 200.
refused() {
  retry=no
  case $status in
    429 | 503 | 504) retry=yes ;;
    3??)
      problem="$1 answered with a redirect (HTTP $status), which is not followed: write the final address"
      return
      ;;
  esac
  # The x keeps trailing line ends from being stripped.
  description=$(json "$work/body" error_description && echo x) || description=x
  description=${description%x}
  reason=$(json "$work/body" reason) || reason=
  request_id=$(json "$work/body" request_id) || request_id=
  problem="$1 answered HTTP $status${reason:+, $reason}${description:+: $description}${request_id:+ (request $request_id)}"
}

# --- the job's OIDC token ---

discover_audience() {
  fetch "$url/.well-known/oauth-authorization-server" || return 1
  if [ "$status" != 200 ]; then
    refused "$url"
    return 1
  fi
  retry=no
  problem="$url does not answer like an ACR token vending service: no usable metadata"
  issuer=$(json "$work/body" issuer) || return 1
  found=$(json "$work/body" audience) || return 1
  problem="$url says that it is $issuer (RFC 8414 section 3.3 wants the same): write that address if you trust it"
  [ "${issuer%/}" = "$url" ] || return 1
  problem="$url asks for an OIDC token with the audience '$found', which is not of its own origin: such a token is good \
somewhere else, and none was sent. If it is right, set the audience yourself (ACR_VENDING_AUDIENCE, or the input 'audience')"
  [ "$(origin "$found" || echo none)" = "$(origin "$url")" ] || return 1
  audience=$found
}

# ask_github, ask_azure: leave the platform's fresh token in FILE.
ask_github() {
  awk 'BEGIN { ORS = ""; print "Authorization: bearer " ENVIRON["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] }' >"$work/authorization"
  fetch "$ACTIONS_ID_TOKEN_REQUEST_URL" --header "@$work/authorization" --get --data-urlencode "audience=$audience" || return 1
  [ "$status" = 200 ] && json "$work/body" value >"$1" && return 0
  refused "GitHub's OIDC token endpoint"
  return 1
}

ask_azure() {
  awk 'BEGIN { ORS = ""; print "Authorization: Bearer " ENVIRON["SYSTEM_ACCESSTOKEN"] }' >"$work/authorization"
  case $SYSTEM_OIDCREQUESTURI in *\?*) separator='&' ;; *) separator='?' ;; esac
  fetch "$SYSTEM_OIDCREQUESTURI${separator}api-version=7.1" --header "@$work/authorization" \
    --header 'Content-Type: application/json' --data '' || return 1
  [ "$status" = 200 ] && json "$work/body" oidcToken >"$1" && return 0
  refused "Azure Pipelines' OIDC token endpoint"
  return 1
}

ask_command() { # FILE COMMAND...
  answer=$1
  shift
  "$@" >"$answer" 2>"$work/stderr" && return 0
  problem="$1 gave no OIDC token: $(cat "$work/stderr")"
  return 1
}

variable() { # FILE NAME: without the token ever being an argument
  awk -v name="$2" 'BEGIN { ORS = ""; print ENVIRON[name] }' >"$1"
}

# Leave a token of the platform in FILE, a fresh one where it can issue one.
ask_platform() {
  retry=no
  if [ -n "${ACR_VENDING_ID_TOKEN_FILE-}" ]; then
    problem="cannot read the OIDC token from $ACR_VENDING_ID_TOKEN_FILE"
    cat "$ACR_VENDING_ID_TOKEN_FILE" >"$1" 2>/dev/null
  elif [ -n "${ACR_VENDING_ID_TOKEN-}" ]; then
    variable "$1" ACR_VENDING_ID_TOKEN
  elif [ -n "${ACTIONS_ID_TOKEN_REQUEST_URL-}" ] && [ -n "${ACTIONS_ID_TOKEN_REQUEST_TOKEN-}" ]; then
    problem="ACTIONS_ID_TOKEN_REQUEST_URL is not an https URL" && safe_url "$ACTIONS_ID_TOKEN_REQUEST_URL" && ask_github "$1"
  elif [ "${GITHUB_ACTIONS-}" = true ]; then
    problem="this job may not ask GitHub for an OIDC token. Add 'permissions: {id-token: write, contents: read}' to the job. \
If it calls a reusable workflow, the caller must grant it too; a pull request from a fork never gets it"
    return 1
  elif [ -n "${SYSTEM_OIDCREQUESTURI-}" ]; then
    problem="System.AccessToken is not passed to this step. Add 'env: {SYSTEM_ACCESSTOKEN: \$(System.AccessToken)}'"
    [ -n "${SYSTEM_ACCESSTOKEN-}" ] || return 1
    problem="SYSTEM_OIDCREQUESTURI is not an https URL" && safe_url "$SYSTEM_OIDCREQUESTURI" && ask_azure "$1"
  elif [ "${CIRCLECI-}" = true ]; then
    ask_command "$1" circleci run oidc get --claims "{\"aud\":\"$audience\"}"
  elif [ "${BUILDKITE-}" = true ]; then
    ask_command "$1" buildkite-agent oidc request-token --audience "$audience"
  elif [ -n "${BITBUCKET_STEP_OIDC_TOKEN-}" ]; then
    variable "$1" BITBUCKET_STEP_OIDC_TOKEN
  else
    problem="there is no OIDC token here: set ACR_VENDING_ID_TOKEN or ACR_VENDING_ID_TOKEN_FILE"
    return 1
  fi
}

# Leave a token in the work directory whose audience is ours and nobody else's: whoever receives it could use it there.
id_token() {
  ask_platform "$work/asked" || return 1
  tr -d '\r\n' <"$work/asked" >"$work/subject"
  retry=no
  problem="the OIDC token is no JWT with exactly one audience; nothing was sent"
  token_audience=$(jwt_audience "$work/subject") || return 1
  problem="the OIDC token is meant for '$token_audience', not for '$audience'; nothing was sent. Ask the platform for the \
right audience, or set ACR_VENDING_AUDIENCE if the service accepts this one"
  [ "$token_audience" = "$audience" ]
}

# --- the exchange (RFC 8693) ---

exchange() {
  set -- --data-urlencode "grant_type=$grant_type" --data-urlencode "subject_token@$work/subject" \
    --data-urlencode "subject_token_type=$jwt_type" --data-urlencode "requested_token_type=$access_type"
  [ -z "$scope" ] || set -- "$@" --data-urlencode "scope=$scope"
  [ -z "$registry" ] || set -- "$@" --data-urlencode "audience=$registry"
  fetch "$url/token" "$@" || return 1
  if [ "$status" != 200 ]; then
    refused "$url"
    return 1
  fi
  retry=no
  problem="$url answered with something that is no registry token"
  # What goes into files of others (GITHUB_ENV, config.json, a shell's eval) must be what it claims to be.
  field access_token token '[A-Za-z0-9._~+/=-]*' || return 1
  mask "$work/token"
  field username username '[A-Za-z0-9._-]*' || return 1
  field registry registry '[a-z0-9.-]*\(:[0-9]*\)\{0,1\}' || return 1
  field expires_at expires_at '[0-9TZ:.+-]*' || return 1
  json "$work/body" hosts strings >"$work/hosts" || return 1
  { cat "$work/registry" && echo; } >>"$work/hosts"
  matches "$work/hosts" '[a-z0-9.-]*\(:[0-9]*\)\{0,1\}' || return 1
  hosts=$(sort -u "$work/hosts" | tr '\n' ' ')
  hosts=${hosts% }
}

# field KEY FILE EXPRESSION: leave a member of the answer in the work directory, one line that matches as a whole.
field() {
  json "$work/body" "$1" >"$work/$2" && [ "$(wc -l <"$work/$2")" -eq 0 ] && matches "$work/$2" "$3"
}

matches() { # FILE EXPRESSION: every line does, and none is empty
  [ -s "$1" ] && ! grep -qv "^$2\$" "$1" && ! grep -q '^$' "$1"
}

retry_after() { # HEADERS: in seconds; 0 where there is none, or a date
  [ -f "$1" ] || : >"$1"
  awk 'tolower($1) == "retry-after:" && $2 ~ /^[0-9]+\r?$/ { seconds = $2 } END { print seconds + 0 }' "$1"
}

attempt() {
  if [ -z "$audience" ]; then discover_audience || return 1; fi
  id_token && exchange
}

# Try until there is a token. Each try asks the platform anew: a one-time token is spent even if its answer was lost.
vend() {
  tries=1
  wait=${ACR_VENDING_RETRY_SECONDS:-2}
  first=
  while ! attempt; do
    if [ "$retry" = no ] || [ "$tries" -ge "${ACR_VENDING_MAX_ATTEMPTS:-4}" ]; then
      [ -z "$first" ] || problem="$problem. That was attempt $tries; the first one failed because $first"
      die "$problem"
    fi
    [ -n "$first" ] || first=$problem
    seconds=$(retry_after "$work/headers")
    [ "$seconds" -gt "$wait" ] || seconds=$wait
    [ "$seconds" -le "$longest_wait" ] || seconds=$longest_wait
    report warning "attempt $tries failed: $problem. Trying again in $seconds s"
    sleep "$seconds"
    tries=$((tries + 1))
    wait=$((wait * 2))
  done
}

# --- the docker configuration ---

# `auth` is what every client understands; `registrytoken` is the bearer itself, which docker, buildx, crane and oras send
# as it is, without asking the registry for a token first.
docker_entry() {
  { cat "$work/username" && printf : && cat "$work/token"; } | base64 | tr -d '\r\n' >"$work/auth"
  mask "$work/auth"
  {
    printf '{"auth": "' && cat "$work/auth" && printf '", "registrytoken": "' && cat "$work/token" && printf '"}\n'
  } >"$work/entry"
}

# Set `config` to a directory whose config.json has our credentials and everything that was there before. The rest of the
# original (cli-plugins, buildx, contexts) is linked. A directory made by an earlier call is brought up to date in place.
docker_login() { # true|helper
  base=${DOCKER_CONFIG:-${HOME-}/.docker}
  if [ -f "$base/.acr-vending" ]; then
    config=$base
  else
    config=${ACR_VENDING_DOCKER_CONFIG-}
    if [ -z "$config" ]; then
      config=$(mktemp -d "$temporary/acr-vending-docker.XXXXXX") || die "cannot create a directory in $temporary"
    else
      mkdir -m 700 "$config" 2>/dev/null || die "cannot create $config, or it is there already and not ours"
    fi
    : >"$config/.acr-vending"
    if base=$(cd "$base" 2>/dev/null && pwd); then
      for entry in "$base"/* "$base"/.[!.]*; do
        name=${entry##*/}
        [ ! -e "$entry" ] || [ "$name" = config.json ] || ln -s "$entry" "$config/$name"
      done
      [ ! -f "$base/config.json" ] || cat "$base/config.json" >"$config/config.json" || die "cannot read $base/config.json"
    fi
  fi
  [ -e "$config/config.json" ] || : >"$config/config.json"

  if [ "$1" = helper ]; then
    : >"$work/entry"
    echo '"acr-vending"' >"$work/helper"
    printf '{"url": "%s", "registry": "%s", "scope": "%s", "audience": "%s"}\n' "$url" "$registry" "$scope" "$audience" \
      >"$work/settings"
    [ -e "$config/acr-vending.json" ] || : >"$config/acr-vending.json"
    replace "$config/acr-vending.json" hosts "$work/settings"
  else
    docker_entry
    # A credential store would shadow the entry; an empty helper for the host is how docker's CLI is told to use the file.
    if [ -n "$(json "$config/config.json" credsStore)" ]; then echo '""' >"$work/helper"; else : >"$work/helper"; fi
  fi
  replace "$config/config.json" auths "$work/entry"
  replace "$config/config.json" credHelpers "$work/helper"
}

replace() { # FILE SECTION TEXT-FILE
  json_put "$1" "$2" "$hosts" "$3" >"$1.new" || {
    rm -f "$1.new"
    die "$1 is not the JSON that docker would write; mend or remove it"
  }
  mv -f "$1.new" "$1"
}

# --- commands ---

shell_quoted() {
  printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"
}

output() { # NAME FILE: an output of the action's step
  { printf '%s=' "$1" && cat "$2" && echo; } >>"${GITHUB_OUTPUT:?}"
}

github_action() {
  output token "$work/token"
  output username "$work/username"
  output registry "$work/registry"
  output expires-at "$work/expires_at"
  [ "$login" != false ] || return 0
  docker_login "$login"
  printf 'DOCKER_CONFIG=%s\n' "$config" >>"${GITHUB_ENV:?}"
  [ "$login" != helper ] || (cd "$(dirname "$0")" && pwd) >>"${GITHUB_PATH:?}"
}

azure_variable() { # NAME FILE [;issecret=true]
  printf '##vso[task.setvariable variable=%s%s]' "$1" "${3-}" && cat "$2" && echo
}

azure_pipelines() {
  azure_variable ACR_TOKEN "$work/token" ';issecret=true'
  azure_variable ACR_USERNAME "$work/username"
  azure_variable ACR_REGISTRY "$work/registry"
  azure_variable ACR_EXPIRES_AT "$work/expires_at"
  [ "$login" != false ] || return 0
  docker_login true
  printf '##vso[task.setvariable variable=DOCKER_CONFIG]%s\n' "$config"
}

settings() {
  url=${ACR_VENDING_URL-}
  url=${url%/}
  scope=${ACR_VENDING_SCOPE-}
  registry=${ACR_VENDING_REGISTRY-}
  audience=${ACR_VENDING_AUDIENCE-}
  login=$(printf '%s' "${ACR_VENDING_LOGIN:-true}" | tr '[:upper:]' '[:lower:]')
  [ -n "$url" ] || die "set ACR_VENDING_URL (the input 'url') to the address of the vending service"
  case $url in *[?#]*) die "ACR_VENDING_URL must be a bare https URL without a query" ;; esac
  safe_url "$url" || die "ACR_VENDING_URL must be an https URL (plain http for loopback only) without a user name"
  case $scope$registry$audience in
    *[!\ -~]* | *\"* | *\\*) die "scope, registry and audience must be plain ASCII without quotes and backslashes" ;;
  esac
  case $command-$login in
    *-true | *-false) ;;
    github-action-helper) command -v python3 >/dev/null || die "login: helper needs python3" ;;
    *) die "login must be true or false, or helper on GitHub" ;;
  esac
  command -v curl >/dev/null || die "curl is not installed here"
}

command=${1-}
case $command in
  token | login | docker-config) ;;
  github-action | azure-pipelines) exec 2>&1 ;; # one stream: the order of masks and messages must hold
  *)
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac

settings
# The job's own temporary directory, which the runner empties, where there is one.
temporary=${RUNNER_TEMP:-${AGENT_TEMPDIRECTORY:-${TMPDIR:-/tmp}}}
work=$(mktemp -d "$temporary/acr-vending.XXXXXX") || die "cannot create a directory in $temporary"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

vend
case $command in
  token) cat "$work/token" && echo ;;
  docker-config)
    docker_entry
    json_put /dev/null auths "$hosts" "$work/entry"
    ;;
  login)
    docker_login true
    printf 'export DOCKER_CONFIG=%s\n' "$(shell_quoted "$config")"
    ;;
  github-action) github_action ;;
  azure-pipelines) azure_pipelines ;;
esac
