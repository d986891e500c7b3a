#!/bin/sh
{ # A shell runs nothing of this before it has read the brace at the end: a copy that is cut off fails and does nothing.
# Trade this CI job's OIDC token for a short-lived Azure Container Registry token.
# Needs a POSIX shell, awk, and curl or GNU wget. It holds no secret of its own.
#
#   eval "$(sh acr-token.sh login)"  write credentials into docker's configuration, as `docker login` does, and print the
#                                    `export DOCKER_CONFIG=...` line that names it. A refusal stops the job; with
#                                    `login | grep . || echo exit 1` in the parentheses a missing shell, and a script
#                                    that is missing or empty, does so too
#   eval "$(sh acr-token.sh logout)" take back what login wrote, and put back what was there before
#   sh acr-token.sh token            print the registry token
#   sh acr-token.sh docker-config    print a docker configuration with these credentials alone
#   sh acr-token.sh github-action    what the GitHub action runs
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
#   ACR_VENDING_DOCKER_CONFIG  a directory for this job alone: login copies the configuration there instead of changing
#                              it, which keeps jobs apart that share a home directory; logout removes the copy
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
host_form='[a-z0-9.-]+(:[0-9]+)?'

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
# Characters are gathered in pieces: adding one by one to a long text would take quadratic time.
function string(  out, piece, c, i) {
  expect("\"")
  out = piece = ""
  while (p <= n) {
    if (length(piece) > 255) {
      out = out piece
      piece = ""
    }
    c = substr(s, p++, 1)
    if (c == "\"") return out piece
    if (c != "\\") {
      if (index(control, c)) exit 2
      piece = piece c
      continue
    }
    c = substr(s, p++, 1)
    if (c == "u") {
      piece = piece rune()
      continue
    }
    i = c == "" ? 0 : index("\"\\/bfnrt", c)
    if (!i) exit 2
    piece = piece substr("\"\\/\b\f\n\r\t", i, 1)
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
# Return a member of the object in text as it is written, or nothing.
function member(text, wanted,  i) {
  if (text == "") return ""
  members(text)
  i = find(wanted)
  return i ? raw[i] : ""
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
function unquoted(text) {
  if (substr(text, 1, 1) != "\"") return ""
  text = strings(text)
  return substr(text, 1, length(text) - 1)
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
# Encode ASCII text.
function base64(t,  i, group, out, letters) {
  letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  for (i = 1; i <= length(t); i += 3) {
    group = code(substr(t, i, 1)) * 65536 + code(substr(t, i + 1, 1)) * 256 + code(substr(t, i + 2, 1))
    out = out substr(letters, int(group / 262144) + 1, 1) substr(letters, int(group / 4096) % 64 + 1, 1)
    out = out (i + 1 > length(t) ? "=" : substr(letters, int(group / 64) % 64 + 1, 1))
    out = out (i + 2 > length(t) ? "=" : substr(letters, group % 64 + 1, 1))
  }
  return out
}
function code(c) { return c == "" ? 0 : index(ascii, c) }
function percent(t,  i, c, out) {
  for (i = 1; i <= length(t); i++) {
    c = substr(t, i, 1)
    out = out (c ~ /[A-Za-z0-9._~-]/ ? c : sprintf("%%%02X", code(c)))
  }
  return out
}
# Whatever a registry is called in a configuration: `https://host/v1/`, `host/repository`, `host`.
function host_of(text) {
  sub(/^https?:\/\//, "", text)
  sub(/\/.*/, "", text)
  return text
}
BEGIN {
  for (i = 1; i < 128; i++) ascii = ascii sprintf("%c", i)
  control = substr(ascii, 1, 31)
  ORS = ""
}
{ input = input (FNR > 1 ? "\n" : "") $0 }
'

# json FILE KEY [string|number|strings [OUTER...]]: print a member of the object in FILE, or of what is found in it by the outer
# keys, one below the other. 1: there is none (of that kind); 2: no JSON object.
json() {
  json_file=$1 json_key=$2 json_type=${3:-string}
  if [ $# -gt 3 ]; then shift 3; else set --; fi
  # shellcheck disable=SC2016
  awk -v wanted="$json_key" -v type="$json_type" -v outer="$*" "$json_awk"'
    END {
      m = split(outer, step, " ")
      for (i = 1; i <= m; i++) if (substr(input = member(input, step[i]), 1, 1) != "{") exit 1
      members(input)
      i = find(wanted)
      if (!i) exit 1
      if (type == "strings" && (kind[i] == "string" || kind[i] == "]")) print strings(raw[i])
      else if (kind[i] != type) exit 1
      else print (type == "string" ? unquoted(raw[i]) : raw[i])
    }' "$json_file" 2>/dev/null
}

# jwt_audience FILE: print the `aud` of the JWT in FILE if it is exactly one, not counting the workspace's that Bitbucket
# appends to the one that a step asks for. The signature is the service's to check.
jwt_audience() {
  # shellcheck disable=SC2016
  awk "$json_awk"'
    END {
      if (split(input, part, ".") != 3) exit 2
      members(base64url(part[2]))
      i = find("aud")
      if (!i || (kind[i] != "string" && kind[i] != "]")) exit 1
      m = split(strings(raw[i]), line, "\n") - 1
      for (i = 1; i <= m; i++) {
        if (m > 1 && line[i] ~ /^ari:cloud:bitbucket::workspace\/[0-9a-f-]+$/) continue
        audience = line[i]
        others++
      }
      if (others != 1) exit 1
      print audience
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

# Whoever evaluates what we print must stop, however the call is written: an eval in front of `&&` hides a mere failure from
# `set -e`, and a pipe hides the exit code. A person's own terminal stays open.
stop_caller() {
  # shellcheck disable=SC2016
  case $command in
    login | logout) echo 'case $- in *i*) false ;; *) exit 1 ;; esac' ;;
    *) ;;
  esac
}

die() {
  report error "$1"
  stop_caller
  exit 1
}

# Tell the platform to hide what FILE holds, before anything can print it.
mask() {
  if [ "${GITHUB_ACTIONS-}" = true ]; then
    { printf '::add-mask::' && cat "$1" && echo; } >&2
  elif [ -n "${TF_BUILD-}" ]; then
    { printf '##vso[task.setsecret]' && cat "$1" && echo; } >&2
  elif [ "${BUILDKITE-}" = true ]; then
    # Agents before 3.67 have no redactor.
    buildkite-agent redactor add <"$1" >/dev/null 2>&1 || :
  elif [ "${GITLAB_CI-}" = true ] && gitlab_masks; then
    { printf '::add-mask::' && cat "$1" && echo; } >&2
  fi
}

# Whether the job's shell runs under a GitLab runner's proxy (`proxy_exec`), which alone understands ::add-mask::. Any other
# runner would write the line, and so the token, into the log.
gitlab_masks() {
  process=$$
  while [ "$process" -gt 1 ] && [ -r "/proc/$process/stat" ]; do
    # Its own two first words: an argument further on may be a whole script that speaks of it, as this one does.
    case $(tr '\0' '\n' <"/proc/$process/cmdline" | sed -n 's/^.*\///; 1,2p' | tr '\n' ' ') in
      gitlab-runner*' proxy-exec ') return 0 ;;
      *) ;;
    esac
    # The name in parentheses may hold anything; the parent's number is the second word behind it.
    process=$(awk '{ sub(/.*\) /, ""); print $2 }' "/proc/$process/stat")
  done 2>/dev/null
  return 1
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
    \[*\]) case $host in \[*[!0-9a-f:.]*\]) return 1 ;; *) ;; esac ;;
    '' | *[!a-z0-9.-]*) return 1 ;;
    *) ;;
  esac
  case $port in *[!0-9]*) return 1 ;; *) ;; esac
  printf '%s://%s:%s' "$scheme" "$host" "$port"
}

loopback() { # ORIGIN
  case $1 in http*://127.0.0.1:* | http*://localhost:* | http*://\[::1\]:*) return 0 ;; *) return 1 ;; esac
}

# Whether a token may travel to this URL: https, or plain http that never leaves the machine.
safe_url() {
  url_origin=$(origin "$1") || return 1
  case $url_origin in https://*) return 0 ;; *) loopback "$url_origin" ;; esac
}

# fetch GET|POST URL: send $work/form as the body of a POST and the lines of $work/sent as headers. Leave the answer in
# $work/body and $work/headers, and its `status`; without one, fail with `problem` and `retry` set. Secrets reach curl and wget
# in files, never as arguments; their users' settings are not read; a redirect is an answer, not followed; nothing on
# loopback is asked for through a proxy; an answer of more than 512 KiB is none, however it is framed.
fetch() {
  : >"$work/body"
  : >"$work/headers"
  client_exit=0
  if [ "$http_client" = curl ]; then fetch_with_curl "$1" "$2"; else fetch_with_wget "$1" "$2"; fi || client_exit=$?
  rm -f "$work/sent"
  [ "$client_exit" != 0 ] || return 0
  problem="no answer from $(origin "$2"): $(cat "$work/said")"
  if [ "$client_exit" -gt 128 ] || [ "$http_client-$client_exit" = curl-23 ] || [ "$http_client-$client_exit" = curl-63 ]; then
    problem="the answer of $(origin "$2") is too long, or the disk is full"
  fi
  return 1
}

# The shell's own limit on the size of files holds where that of curl before 8.4 does not: for bodies without a length. Its
# signal must not leave a core with secrets in it.
limited() {
  # shellcheck disable=SC3045
  ulimit -c 0 2>/dev/null || :
  ulimit -f 512 2>/dev/null || :
}

fetch_with_curl() { # METHOD URL
  set -- "$2" "$1"
  awk '{ gsub(/["\\]/, "\\\\&"); print "header = \"" $0 "\"" }' "$work/sent" >"$work/curlrc" 2>/dev/null || : >"$work/curlrc"
  if [ "$2" = POST ]; then set -- "$1" --data-binary "@$work/form"; else set -- "$1"; fi
  if loopback "$(origin "$1")"; then set -- "$@" --noproxy '*'; fi
  fetched=$1
  shift
  curl_exit=0
  status=$(
    limited
    exec curl -q --config "$work/curlrc" --silent --show-error --proto "=${fetched%%:*}" --max-redirs 0 --connect-timeout 10 \
      --max-time 45 --max-filesize 524288 --dump-header "$work/headers" --output "$work/body" --write-out '%{http_code}' \
      "$@" "$fetched" 2>"$work/said"
  ) || curl_exit=$?
  # A body that breaks off leaves the 200 standing; the exit code tells.
  case $curl_exit in
    5 | 6 | 7 | 16 | 18 | 28 | 35 | 52 | 55 | 56 | 92) retry=yes ;; # the network's failures; the rest will fail again
    *) retry=no ;;
  esac
  return "$curl_exit"
}

fetch_with_wget() { # METHOD URL
  set -- "$2" "$1"
  { echo 'netrc = off' && sed 's/^/header = /' "$work/sent" 2>/dev/null; } >"$work/wgetrc"
  if [ "$2" = POST ]; then set -- "$1" "--post-file=$work/form"; else set -- "$1"; fi
  if loopback "$(origin "$1")"; then set -- "$@" --no-proxy; fi
  [ -z "${CURL_CA_BUNDLE-}" ] || set -- "$@" "--ca-certificate=$CURL_CA_BUNDLE"
  fetched=$1
  shift
  # Its own timeout begins anew with every byte.
  set -- wget "$@"
  if command -v timeout >/dev/null 2>&1; then set -- timeout 60 "$@"; fi
  wget_exit=0
  (
    limited
    exec "$@" "--config=$work/wgetrc" --no-verbose --server-response --content-on-error --no-hsts --tries=1 --max-redirect=0 \
      --timeout=45 --output-document="$work/body" "$fetched" 2>"$work/printed"
  ) || wget_exit=$?
  sed -n 's/^  //p' "$work/printed" >"$work/headers"
  sed -n '/^[^ ]/p' "$work/printed" | tail -n 1 >"$work/said"
  status=$(awk '/^HTTP\// { status = $2 } END { print status }' "$work/headers")
  case $wget_exit in
    0) return 0 ;;
    8) retry=no ;;                # an answer with an error
    4) retry=yes && return 4 ;;   # the network
    124 | 143)
      echo "it comes too slowly" >"$work/said"
      retry=yes
      return 4
      ;;
    *) retry=no && return "$wget_exit" ;;
  esac
}

# Print what the answer says in the first of these members, or the first line of its text, cut: proxies and gateways answer
# in HTML.
answer_text() {
  for member in error_description message detail title error; do
    if text=$(json "$work/body" "$member" && echo x); then
      printf '%s' "${text%x}" # the x keeps trailing line ends from being stripped
      return
    fi
  done
  awk '
    { text = text $0 "\n" }
    END {
      gsub(/<[^>]*>/, "\n", text)
      lines = split(text, line, "\n")
      for (i = 1; i <= lines; i++) {
        gsub(/^[ \t\r]+|[ \t\r]+$/, "", line[i])
        if (line[i] ~ /[A-Za-z0-9]/ && line[i] !~ /^[{\[]/) break
      }
      if (i <= lines) printf "%s", (length(line[i]) > 200 ? substr(line[i], 1, 200) "..." : line[i])
    }' "$work/body"
}

# Set `problem` and `retry` from an answer that is not a 200. A 5xx that is not the service's own comes from what stands
# before it, and passes; the service's own says itself whether trying again helps.
refused() { # WHO
  retry=no
  reason=$(json "$work/body" reason) || reason=
  case $status-$reason in
    429-* | 503-* | 504-* | 5??-) retry=yes ;;
    3??-*)
      problem="$1 answered with a redirect (HTTP $status), which is not followed: write the final address"
      return
      ;;
    *) ;;
  esac
  description=$(answer_text && echo x)
  description=${description%x}
  request_id=$(json "$work/body" request_id) || request_id=
  link=$(json "$work/body" error_uri) || link=
  problem="$1 answered HTTP $status${reason:+, $reason}${description:+: $description}${request_id:+ (request $request_id)}${link:+. What to do: $link}"
}

# --- the job's OIDC token ---

discover_audience() {
  fetch GET "$url/.well-known/oauth-authorization-server" || return 1
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

with_query() { # URL NAME=VALUE: the value is encoded
  case $1 in *\?*) printf '%s&' "$1" ;; *) printf '%s?' "$1" ;; esac
  # shellcheck disable=SC2016
  value=${2#*=} awk "$json_awk"' END { print percent(ENVIRON["value"]) }' /dev/null >"$work/encoded"
  printf '%s=' "${2%%=*}" && cat "$work/encoded"
}

# ask_github, ask_azure: leave the platform's fresh token in FILE.
ask_github() {
  awk 'BEGIN { print "Authorization: bearer " ENVIRON["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] }' >"$work/sent"
  fetch GET "$(with_query "$ACTIONS_ID_TOKEN_REQUEST_URL" "audience=$audience")" || return 1
  [ "$status" = 200 ] && json "$work/body" value >"$1" && return 0
  refused "GitHub's OIDC token endpoint"
  return 1
}

# Without the second header, a token that is not accepted gets a redirect to a page for signing in instead of a 401.
ask_azure() {
  awk 'BEGIN {
    print "Authorization: Bearer " ENVIRON["SYSTEM_ACCESSTOKEN"]
    print "X-TFS-FedAuthRedirect: Suppress"
    print "Content-Type: application/json"
  }' >"$work/sent"
  : >"$work/form"
  fetch POST "$(with_query "$SYSTEM_OIDCREQUESTURI" api-version=7.1)" || return 1
  [ "$status" = 200 ] && json "$work/body" oidcToken >"$1" && return 0
  refused "Azure Pipelines' OIDC token endpoint"
  case $status in 3??) problem="Azure Pipelines' OIDC token endpoint answered with a redirect (HTTP $status): it does not accept this job's access token" ;; *) ;; esac
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
If it calls a reusable workflow, the caller must grant it too; runs of Dependabot and pull requests from \
forks get no OIDC token, whatever permissions says"
    return 1
  elif [ -n "${SYSTEM_OIDCREQUESTURI-}" ]; then
    problem="the access token of the job is not passed to this step: map System.AccessToken to SYSTEM_ACCESSTOKEN in its env"
    [ -n "${SYSTEM_ACCESSTOKEN-}" ] || return 1
    problem="SYSTEM_OIDCREQUESTURI is not an https URL" && safe_url "$SYSTEM_OIDCREQUESTURI" && ask_azure "$1"
  elif [ "${CIRCLECI-}" = true ]; then
    ask_command "$1" circleci run oidc get --claims "{\"aud\":\"$audience\"}"
  elif [ "${BUILDKITE-}" = true ]; then
    # The ids, which survive a rename, are only in a token that asks for them.
    ask_command "$1" buildkite-agent oidc request-token --audience "$audience" --claim organization_id,pipeline_id
  elif [ -n "${BITBUCKET_STEP_OIDC_TOKEN-}" ]; then
    variable "$1" BITBUCKET_STEP_OIDC_TOKEN
  elif [ -n "${TFC_WORKLOAD_IDENTITY_TOKEN-}" ]; then
    variable "$1" TFC_WORKLOAD_IDENTITY_TOKEN
  else
    problem="there is no OIDC token here: set ACR_VENDING_ID_TOKEN or ACR_VENDING_ID_TOKEN_FILE"
    return 1
  fi
}

# Leave a token in the work directory whose audience is ours and nobody else's: whoever receives it could use it there.
id_token() {
  ask_platform "$work/asked" || return 1
  tr -d ' \t\r\n' <"$work/asked" >"$work/subject"
  retry=no
  problem="the OIDC token is no JWT with exactly one audience; nothing was sent"
  token_audience=$(jwt_audience "$work/subject") || return 1
  problem="the OIDC token is meant for '$token_audience', not for '$audience'; nothing was sent. Ask the platform for the \
right audience, or set ACR_VENDING_AUDIENCE if the service accepts this one"
  [ "$token_audience" = "$audience" ]
}

# --- the exchange (RFC 8693) ---

exchange() {
  # shellcheck disable=SC2016
  grant_type=$grant_type jwt_type=$jwt_type access_type=$access_type scope=$scope registry=$registry awk "$json_awk"'
    END {
      print "grant_type=" percent(ENVIRON["grant_type"]) "&subject_token=" percent(input)
      print "&subject_token_type=" percent(ENVIRON["jwt_type"]) "&requested_token_type=" percent(ENVIRON["access_type"])
      if (ENVIRON["scope"] != "") print "&scope=" percent(ENVIRON["scope"])
      if (ENVIRON["registry"] != "") print "&audience=" percent(ENVIRON["registry"])
    }' "$work/subject" >"$work/form"
  fetch POST "$url/token" || return 1
  if [ "$status" != 200 ]; then
    refused "$url"
    return 1
  fi
  retry=no
  problem="$url answered with something that is no registry token"
  # What goes into files of others (GITHUB_ENV, config.json, a shell's eval) must be what it claims to be.
  field access_token token '[A-Za-z0-9._~+/=-]+' || return 1
  mask "$work/token"
  field username username '[A-Za-z0-9._-]+' || return 1
  field registry registry "$host_form" || return 1
  field expires_at expires_at '[0-9TZ:.+-]+' || return 1
  field scope scope '[a-z0-9._/:,* -]+' || return 1
  field request_id request_id '[A-Za-z0-9._-]+' || return 1
  json "$work/body" hosts strings >"$work/hosts" || return 1
  echo >>"$work/registry"
  hosts=$(awk -v form="^$host_form\$" '
    $0 !~ form { bad = 1 }
    !seen[$0]++ { out = out (out == "" ? "" : " ") $0 }
    END { if (bad) exit 1; print out }' "$work/registry" "$work/hosts")
}

# field KEY FILE EXPRESSION: leave a member of the answer in the work directory, one line that matches as a whole.
field() {
  json "$work/body" "$1" >"$work/$2" && awk -v form="^$3\$" 'NR > 1 || $0 !~ form { exit bad = 1 } END { exit bad || NR == 0 }' "$work/$2"
}

retry_after() { # HEADERS: in seconds; 0 where there is none, or a date
  awk 'tolower($1) == "retry-after:" && $2 ~ /^[0-9]+\r?$/ { seconds = $2 } END { print (seconds > 86400 ? 86400 : seconds + 0) }' "$1"
}

attempt() {
  : >"$work/headers"
  if [ -z "$audience" ]; then discover_audience || return 1; fi
  id_token && exchange
}

# Stop where a full disk is behind whatever went wrong.
room() {
  printf '%8192s' '' 2>/dev/null >"$work/room" || die "there is no room left in $temporary"
}

# Try until there is a token. Each try asks the platform anew: a one-time token is spent even if its answer was lost.
vend() {
  tries=1
  wait=${ACR_VENDING_RETRY_SECONDS:-2}
  first=
  while ! attempt; do
    room
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
#
# Login writes into the configuration in force, as `docker login` does: an `auths` entry for each of our hosts, and nothing
# else. What it replaces is kept in acr-vending-login.json beside it, and logout puts it back. An entry that somebody else
# has written since is theirs, and stays.

# shellcheck disable=SC2016
edit_awk='
# Return the object in text with a member put in, or taken out where the new text is empty; all else stays as it is written.
function put(text, wanted, new, pad,  i, out, seen, separator) {
  members(text == "" ? "{}" : text)
  for (i = 1; i <= count; i++) {
    if (key[i] == wanted) seen = 1
    if (key[i] == wanted && new == "") continue
    out = out separator pad "  " name[i] ": " (key[i] == wanted ? new : raw[i])
    separator = ",\n"
  }
  if (!seen && new != "") out = out separator pad "  \"" wanted "\": " new
  return out == "" ? "{}" : "{\n" out "\n" pad "}"
}
function slurp(path,  line, out, separator) {
  while ((getline line < path) > 0) {
    out = out separator line
    separator = "\n"
  }
  close(path)
  return out ~ /^[ \t\r\n]*$/ ? "{}" : out
}
# Docker writes its file anew at every login; an entry is known by its token then.
function same(a, b) {
  if (a == b) return a != ""
  if (substr(a, 1, 1) != "{" || substr(b, 1, 1) != "{") return 0
  a = member(a, "registrytoken")
  return a != "" && a == member(b, "registrytoken")
}
function section_of(text, wanted,  inner) {
  inner = member(text, wanted)
  if (inner != "" && substr(inner, 1, 1) != "{") exit 2
  return inner
}
function empty(text) {
  if (text == "") return 0
  members(text)
  return count == 0
}
# Undo what an earlier login wrote for a host, if it is still there.
function take_back(host,  entry, section, inner) {
  entry = member(logins, host)
  if (entry == "") return
  section = unquoted(member(entry, "section"))
  inner = section_of(config, section)
  if (same(member(inner, host), member(entry, "wrote"))) {
    config = put(config, section, put(inner, host, member(entry, "before"), "  "), "")
  }
  logins = put(logins, host, "", "  ")
}
# Whether some action on a repository is in the first scope and not in the second.
function lacks(old, new,  i, j, m, k, scope, part, actions, action) {
  m = split(new, scope, " ")
  for (i = 1; i <= m; i++) {
    split(scope[i], part, ":")
    k = split(part[3], action, ",")
    for (j = 1; j <= k; j++) actions[part[1] ":" part[2] ":" action[j]] = 1
  }
  m = split(old, scope, " ")
  for (i = 1; i <= m; i++) {
    split(scope[i], part, ":")
    k = split(part[3], action, ",")
    for (j = 1; j <= k; j++) if (!((part[1] ":" part[2] ":" action[j]) in actions)) return 1
  }
  return 0
}
function log_in(host, text,  entry, inner, old, before) {
  entry = member(logins, host)
  if (entry != "" && same(member(section_of(config, unquoted(member(entry, "section"))), host), member(entry, "wrote"))) {
    old = unquoted(member(entry, "scope"))
    if (unquoted(member(entry, "expires_at")) > ENVIRON["now"] && lacks(old, ENVIRON["granted"])) {
      print host " " old "\n" > (work "/dropped")
    }
  }
  take_back(host)
  inner = section_of(config, section)
  if (inner == "") state = put(state, "created_" section, "true", "")
  before = member(inner, host)
  config = put(config, section, put(inner, host, text, "  "), "")
  entry = put("{}", "section", "\"" section "\"", "    ")
  if (before != "") entry = put(entry, "before", before, "    ")
  entry = put(entry, "wrote", text, "    ")
  entry = put(entry, "scope", "\"" ENVIRON["granted"] "\"", "    ")
  entry = put(entry, "expires_at", "\"" ENVIRON["expires_at"] "\"", "    ")
  if (host in store) entry = put(entry, "store", "\"" store[host] "\"", "    ")
  logins = put(logins, host, entry, "  ")
}
'

# The file that a name stands for: docker follows a link and writes to its target.
resolved() {
  file=$1
  links=0
  while [ -L "$file" ] && [ "$links" -lt 32 ]; do
    target=$(readlink "$file") || break
    case $target in /*) file=$target ;; *) file=${file%/*}/$target ;; esac
    links=$((links + 1))
  done
  printf '%s' "$file"
}

# Set `config` to the directory of the configuration that login and logout change.
docker_directory() {
  config=${ACR_VENDING_DOCKER_CONFIG:-${DOCKER_CONFIG:-}}
  if [ -z "$config" ]; then
    [ -n "${HOME-}" ] || die "neither DOCKER_CONFIG nor HOME is set: there is no docker configuration to log in to"
    config=$HOME/.docker
  fi
  case $config in /* | [A-Za-z]:[/\\]*) ;; *) config=$PWD/$config ;; esac
  # In Git's bash on Windows: docker is a native program, and knows no /c/Users.
  if command -v cygpath >/dev/null 2>&1; then config=$(cygpath -m "$config"); fi
}

# Copy the configuration in force into a directory of this job's own. The rest of the original (cli-plugins, buildx,
# contexts) is linked.
make_private_copy() {
  original=${DOCKER_CONFIG:-${HOME-}/.docker}
  if [ "$original" = "$config" ]; then return; fi
  # shellcheck disable=SC3067 # every shell in use has -O
  if [ -f "$config/.acr-vending" ] && [ -O "$config" ]; then return; fi
  mkdir -m 700 "$config" 2>/dev/null || die "cannot create $config, or it is there already and not ours"
  printf '%s\n' "${DOCKER_CONFIG-}" >"$config/.acr-vending"
  if original=$(cd "$original" 2>/dev/null && pwd -P); then
    for entry in "$original"/* "$original"/.[!.]*; do
      case ${entry##*/} in
        config.json | acr-vending-login.json | .acr-vending*) ;;
        *) [ ! -e "$entry" ] || ln -s "$entry" "$config/${entry##*/}" || die "cannot link $entry into $config" ;;
      esac
    done
    [ ! -f "$original/config.json" ] || cat "$original/config.json" >"$config/config.json" || die "cannot read $original/config.json"
  fi
}

# One login or logout at a time; others wait. A lock of half a minute is left over: nobody holds it for longer than a moment.
lock() {
  waited=0
  until mkdir "$config/.acr-vending.lock" 2>/dev/null; do
    [ -w "$config" ] || die "cannot write into $config"
    waited=$((waited + 1))
    [ "$waited" -lt 30 ] || rm -rf "$config/.acr-vending.lock"
    sleep 1
  done
  locked=$config/.acr-vending.lock
}

unlock() {
  [ -z "$locked" ] || rm -rf "$locked"
  locked=
}

put_in_place() { # SOURCE FILE: keep the file's owner, keep everybody else from reading it
  if [ ! -s "$1" ]; then
    rm -f "$2"
    return
  fi
  unfinished=$2.acr-vending
  if [ -e "$2" ]; then cp -p "$2" "$unfinished"; else : >"$unfinished"; fi &&
    chmod 600 "$unfinished" && cat "$1" >"$unfinished" && mv -f "$unfinished" "$2" && unfinished= && return
  rm -f "$unfinished"
  unfinished=
  return 1
}

# Say why awk did not write what is to be put in place: it says so itself, but for what it was given.
not_edited() {
  room
  [ ! -s "$work/said" ] || die "cannot write $target: $(awk 'NR == 1' "$work/said")"
  [ ! -e "$state" ] || die "$target is not the JSON that docker would write, or $state is not what a login has written; fix or remove it"
  die "$target is not the JSON that docker would write; fix or remove it"
}

# edit SECTION: put $work/entry into this section for each of our hosts; without a section, take back every login.
edit() {
  target=$(resolved "$config/config.json")
  state=$config/acr-vending-login.json
  created=$made_directory
  [ -n "$created" ] || [ -e "$target" ] || [ -z "$1" ] || created='file'
  rm -f "$work/dropped" "$work/logged-out" "$work/helper-hosts" "$work/created-directory"
  [ -e "$target" ] || : >"$work/none"
  { [ ! -e "$target" ] || cat "$target" >/dev/null; } 2>"$work/said" || die "cannot read $target: $(cat "$work/said")"
  json_exit=0
  [ ! -e "$state" ] || json "$state" hosts '}' >/dev/null || json_exit=$?
  [ "$json_exit" -lt 2 ] || die "$state is not what a login has written; fix or remove it"
  source=$target
  [ -e "$target" ] || source=$work/none
  work=$work state=$state section=$1 hosts=$hosts created=$created granted=$(cat "$work/scope" 2>/dev/null) \
    expires_at=$(cat "$work/expires_at" 2>/dev/null) now=$(date -u +%Y-%m-%dT%H:%M:%SZ) \
    awk "$json_awk$edit_awk"'
END {
        config = input ~ /^[ \t\r\n]*$/ ? "{}" : input
        work = ENVIRON["work"]
        section = ENVIRON["section"]
        state = slurp(ENVIRON["state"])
        logins = member(state, "hosts")
        m = split(ENVIRON["hosts"], host, " ")
        if (ENVIRON["created"] != "") state = put(state, "created_file", "true", "")
        if (ENVIRON["created"] == "directory") state = put(state, "created_directory", "true", "")
        if (section == "") {
          members(logins == "" ? "{}" : logins)
          m = count
          for (i = 1; i <= m; i++) host[i] = key[i]
          for (i = 1; i <= m; i++) {
            program = unquoted(member(member(logins, host[i]), "store"))
            print host[i] " " program "\n" > (work "/logged-out")
            if (unquoted(member(member(logins, host[i]), "section")) == "credHelpers") print host[i] "\n" > (work "/helper-hosts")
            take_back(host[i])
          }
          for (i = split("auths credHelpers", mine, " "); i > 0; i--) {
            if (member(state, "created_" mine[i]) != "" && empty(section_of(config, mine[i]))) config = put(config, mine[i], "", "")
          }
          if (member(state, "created_file") != "" && config == "{}") config = ""
          if (member(state, "created_directory") != "") print "yes" > (work "/created-directory")
          state = ""
        } else {
          while ((getline line < (work "/stored")) > 0) {
            split(line, part, " ")
            store[part[1]] = part[2]
          }
          text = slurp(work "/entry")
          for (i = 1; i <= m; i++) log_in(host[i], text)
          state = put(state, "hosts", logins, "") "\n"
        }
        printf "%s", (config == "" ? "" : config "\n") > (work "/config")
        printf "%s", state > (work "/state")
      }' "$source" 2>"$work/said" || not_edited
  if [ -e "$state" ]; then cat "$state"; fi >"$work/earlier"
  put_in_place "$work/state" "$state" || die "cannot write $state"
  put_in_place "$work/config" "$target" && return
  # The note must not claim what the configuration does not have; and it holds the token.
  put_in_place "$work/earlier" "$state"
  die "cannot write $target"
}

# `auth` is what every client understands; `registrytoken` is the bearer itself, which docker, buildx, crane and oras send
# as it is, without asking the registry for a token first.
docker_entry() {
  # shellcheck disable=SC2016
  awk "$json_awk"' END { print base64(input) }' "$work/pair" >"$work/auth"
  mask "$work/auth"
  { printf '{"auth": "' && cat "$work/auth" && printf '", "registrytoken": "' && cat "$work/token" && printf '"}'; } >"$work/entry"
}

# The first line of what a program said, unless it repeats the token.
first_line() { # FILE
  awk 'NR == FNR { token = $0; next } FNR == 1 { print (index($0, token) ? "its message repeats the token" : $0) }' "$work/token" "$1"
}

# What asks a credential store before it looks into the file (oras, helm, notation) finds the token there as well, as it
# would after `docker login`. A credential that somebody else keeps there stays.
keep_in_store() { # HOST
  program=$(json "$source" "$1" string credHelpers) && {
    [ -z "$program" ] || [ "$program" = acr-vending ] || report warning "credHelpers in $source names '$program' for $1: oras, \
helm, notation, skopeo, podman and buildah ask that program instead of using this login. To undo it, remove that entry"
    return 0
  }
  program=$(json "$source" credsStore) || return 0
  case $program in '' | *[!A-Za-z0-9._-]*) return 0 ;; *) ;; esac
  ours=$(json "$config/acr-vending-login.json" store string hosts "$1") || ours=
  if [ "$ours" != "$program" ] && printf '%s' "$1" | "docker-credential-$program" get >"$work/kept" 2>/dev/null; then
    rm -f "$work/kept"
    report warning "docker-credential-$program, which credsStore in $source names, has another credential of $1: oras, helm and \
notation use that one instead of this login. To undo it: docker logout $1, then log in again"
    return 0
  fi
  {
    printf '{"ServerURL": "%s", "Username": "' "$1" && cat "$work/username" && printf '", "Secret": "'
    cat "$work/token" && printf '"}'
  } >"$work/kept"
  if "docker-credential-$program" store <"$work/kept" >"$work/said" 2>&1; then
    printf '%s %s\n' "$1" "$program" >>"$work/stored"
  else
    report warning "docker-credential-$program, which credsStore in $source names, did not take the credentials of $1 \
($(first_line "$work/said")): docker, crane, skopeo, podman and buildah use this login; buildx, oras, helm and notation may fail"
  fi
  rm -f "$work/kept"
}

docker_login() { # true|helper
  docker_directory
  made_directory=
  if [ -n "${ACR_VENDING_DOCKER_CONFIG-}" ]; then
    make_private_copy
  elif [ ! -d "$config" ]; then
    made_directory=directory
    mkdir -p "$config" || die "cannot create $config"
  fi
  source=$(resolved "$config/config.json")
  : >"$work/stored"
  if [ "$1" = helper ]; then
    printf '"acr-vending"' >"$work/entry"
  else
    docker_entry
    for host in $hosts; do
      [ ! -e "$source" ] || keep_in_store "$host"
    done
  fi
  lock
  if [ "$1" = helper ]; then
    helper_settings put
    edit credHelpers
  else
    edit auths
  fi
  unlock
  [ ! -f "$work/dropped" ] || while read -r host old; do
    report warning "this login replaces an earlier one for $host, which had '$old' and is still valid; from now on it is \
'$(cat "$work/scope")'. A client takes one credential for a host: to have both, ask for both in one login, with ACR_VENDING_SCOPE='$old \
$(cat "$work/scope")'"
  done <"$work/dropped"
  if [ -n "${REGISTRY_AUTH_FILE-}" ] && [ "$(resolved "$REGISTRY_AUTH_FILE")" != "$(resolved "$config/config.json")" ]; then
    report warning "REGISTRY_AUTH_FILE names $REGISTRY_AUTH_FILE: skopeo, podman and buildah look there first, newer ones \
nowhere else, instead of this login. To undo it: unset REGISTRY_AUTH_FILE"
  fi
  for host in $hosts; do look_for_shadows "$host"; done
}

# Put our hosts into the file of docker-credential-acr-vending, or take out those that logout has taken back.
helper_settings() { # put|remove
  settings=$config/acr-vending.json
  if [ "$1" = remove ] && [ ! -f "$settings" ]; then return; fi
  [ -f "$settings" ] || printf '{}' >"$settings"
  removed=$hosts
  [ "$1" = put ] || removed=$(cat "$work/helper-hosts" 2>/dev/null)
  # shellcheck disable=SC2016
  hosts=$removed how=$1 url=${url-} registry=${registry-} scope=${scope-} audience=${audience-} awk "$json_awk$edit_awk"'
    END {
      text = input ~ /^[ \t\r\n]*$/ ? "{}" : input
      entries = section_of(text, "hosts")
      entry = put("{}", "url", "\"" ENVIRON["url"] "\"", "    ")
      entry = put(entry, "registry", "\"" ENVIRON["registry"] "\"", "    ")
      entry = put(entry, "scope", "\"" ENVIRON["scope"] "\"", "    ")
      entry = put(entry, "audience", "\"" ENVIRON["audience"] "\"", "    ")
      m = split(ENVIRON["hosts"], host, " ")
      for (i = 1; i <= m; i++) entries = put(entries, host[i], ENVIRON["how"] == "put" ? entry : "", "  ")
      text = put(text, "hosts", entries == "{}" ? "" : entries, "")
      if (text != "{}") print text "\n"
    }' "$settings" >"$work/settings" ||
    die "$settings is not JSON; fix or remove it"
  put_in_place "$work/settings" "$settings" || die "cannot write $settings"
}

# --- what would win over the file that login writes ---

# shadow FILE HOST: print what in the `auths` of FILE some client takes for this host.
shadow() {
  # shellcheck disable=SC2016
  host=$2 awk "$json_awk"'
    END {
      text = member(input, "auths")
      if (substr(text, 1, 1) != "{") exit
      members(text)
      for (i = 1; i <= count; i++) if (host_of(key[i]) == ENVIRON["host"]) print key[i] "\n"
    }' "$1" 2>/dev/null | tr '\n' ' '
}

# docs/clients.md has the table, client by client with its source.
look_for_shadows() { # HOST
  home=${HOME-}
  settings_home=${XDG_CONFIG_HOME:-$home/.config}
  if [ -n "${DOCKER_AUTH_CONFIG-}" ]; then
    variable "$work/environment" DOCKER_AUTH_CONFIG
    [ -z "$(shadow "$work/environment" "$1")" ] || report warning "DOCKER_AUTH_CONFIG has an entry of $1: docker, buildx and crane use it \
instead of this login. To undo it: unset DOCKER_AUTH_CONFIG"
    rm -f "$work/environment"
  fi
  if [ -z "${REGISTRY_AUTH_FILE-}" ]; then
    for file in "${XDG_RUNTIME_DIR:-/run/containers/$(id -u)}${XDG_RUNTIME_DIR:+/containers}/auth.json" "$settings_home/containers/auth.json"; do
      [ ! -r "$file" ] || [ -z "$(shadow "$file" "$1")" ] || report warning "$file has an entry of $1: skopeo uses it \
instead of this login, and without DOCKER_CONFIG so do podman and buildah. To undo it: podman logout --authfile $file $1"
    done
  fi
  for file in "${HELM_REGISTRY_CONFIG:-${HELM_CONFIG_HOME:-$settings_home/helm}/registry/config.json}" "$home/Library/Preferences/helm/registry/config.json"; do
    [ ! -r "$file" ] || [ -z "$(shadow "$file" "$1")" ] || report warning "$file has an entry of $1: helm uses it instead of this \
login. To undo it: helm registry logout $1"
  done
  file=${REGCTL_CONFIG:-$home/.regctl/config.json}
  [ ! -r "$file" ] || ! json "$file" user string hosts "$1" >"$work/said" || report warning "$file has an entry of $1: regctl uses it \
instead of this login. To undo it: regctl registry logout $1"
  for file in "${BUILDX_CONFIG:-$config/buildx}/config/$1" "${BUILDX_CONFIG:-$config/buildx}/config/$1@"*; do
    [ ! -d "$file" ] || report warning "$file has a configuration of its own for $1: buildx uses it for the scopes that fit instead \
of this login. To undo it, remove that directory"
  done
  for name in $(shadow "$(resolved "$config/config.json")" "$1"); do
    case $name in
      "$1"/*) report warning "$config/config.json has an entry of $name: crane, skopeo, podman and buildah use it for that repository \
instead of this login. To undo it, remove that entry" ;;
      *) ;;
    esac
  done
}

# --- commands ---

# Whether the words of a command line need this value quoted: always.
shell_quoted() {
  printf "'%s'" "$(printf '%s\n' "$1" | awk '{ gsub(/\047/, "\047\\\047\047"); print }')"
}

# One line for people about what there is now, where the log is all that they see.
success() {
  line="$(tr -d '\n' <"$work/registry"): $(cat "$work/scope") until $(cat "$work/expires_at") (request $(cat "$work/request_id"))"
  echo "acr-token: $line" >&2
}

docker_logout() {
  docker_directory
  hosts=
  made_directory=
  if [ -e "$config/acr-vending-login.json" ] && [ -d "$config" ]; then
    lock
    edit ''
    helper_settings remove
    unlock
    [ ! -f "$work/logged-out" ] || while read -r host program; do
      [ -z "$program" ] || printf '%s' "$host" | "docker-credential-$program" erase >"$work/said" 2>&1 ||
        report warning "docker-credential-$program did not remove the credentials of $host: $(awk 'NR == 1' "$work/said")"
    done <"$work/logged-out"
  fi
  if [ -f "$config/.acr-vending" ]; then
    original=$(cat "$config/.acr-vending")
    rm -rf "$config"
    if [ -n "$original" ]; then printf 'export DOCKER_CONFIG=%s\n' "$(shell_quoted "$original")"; else echo 'unset DOCKER_CONFIG'; fi
    return
  fi
  [ ! -f "$work/created-directory" ] || rmdir "$config" 2>/dev/null || :
  [ "${DOCKER_CONFIG-}" != "${HOME-}/.docker" ] || echo 'unset DOCKER_CONFIG'
}

output() { # NAME FILE: an output of the action's step
  { printf '%s=' "$1" && tr -d '\n' <"$2" && echo; } >>"${GITHUB_OUTPUT:?}"
}

github_action() {
  output registry "$work/registry"
  output username "$work/username"
  output password "$work/token"
  output expires-at "$work/expires_at"
  output scope "$work/scope"
  output request-id "$work/request_id"
  # shellcheck disable=SC2016
  [ -z "${GITHUB_STEP_SUMMARY-}" ] || printf '**ACR token**: `%s` grants `%s` until %s (request `%s`).\n\n' \
    "$(tr -d '\n' <"$work/registry")" "$(cat "$work/scope")" "$(cat "$work/expires_at")" "$(cat "$work/request_id")" >>"$GITHUB_STEP_SUMMARY"
  [ "$login" != false ] || return 0
  docker_login "$login"
  printf 'DOCKER_CONFIG=%s\n' "$config" >>"${GITHUB_ENV:?}"
  [ "$login" != helper ] || (cd "${0%/*}" && pwd -P) >>"${GITHUB_PATH:?}"
}

azure_variable() { # NAME FILE [;issecret=true]
  printf '##vso[task.setvariable variable=%s%s]' "$1" "${3-}" && tr -d '\n' <"$2" && echo
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
  case $url in *[?#]*) die "ACR_VENDING_URL must be a bare https URL without a query" ;; *) ;; esac
  safe_url "$url" || die "ACR_VENDING_URL must be an https URL (plain http for loopback only) without a user name"
  case $scope$registry$audience in
    *[!\ -~]* | *\"* | *\\*) die "scope, registry and audience must be plain ASCII without quotes and backslashes" ;;
    *) ;;
  esac
  for number in "${ACR_VENDING_MAX_ATTEMPTS:-4}" "${ACR_VENDING_RETRY_SECONDS:-2}"; do
    case $number in
      *[!0-9]* | ?????*) die "ACR_VENDING_MAX_ATTEMPTS and ACR_VENDING_RETRY_SECONDS must be small whole numbers" ;;
      *) ;;
    esac
  done
  case $command-$login in
    *-true | *-false) ;;
    github-action-helper) need python3 ;;
    *) die "login must be true or false, or helper on GitHub" ;;
  esac
}

# need TOOL...: everything is looked for before anything is done; half a login would be worse than none.
need() {
  missing=
  for tool in "$@"; do command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"; done
  [ -n "$missing" ] || return 0
  how_to_install
  die_early "not installed here:$missing. $advice"
}

how_to_install() {
  if command -v apk >/dev/null 2>&1; then
    advice="In the job, before this: apk add --no-cache curl"
  elif command -v apt-get >/dev/null 2>&1; then
    advice="In the job, before this: apt-get update && apt-get install --yes --no-install-recommends ca-certificates curl mawk coreutils sed"
  elif command -v dnf >/dev/null 2>&1; then
    advice="In the job, before this: dnf install --assumeyes curl gawk coreutils sed"
  elif command -v microdnf >/dev/null 2>&1; then
    advice="In the job, before this: microdnf install --assumeyes curl gawk coreutils sed"
  else
    advice="This image has no package manager: docs/clients.md, 'Images without a package manager', has the ways out"
  fi
}

# Without any of the tools that the other messages are made with.
die_early() {
  case ${GITHUB_ACTIONS-}${TF_BUILD:+azure} in
    true) echo "::error title=ACR token::$1" >&2 ;;
    *azure) echo "##vso[task.logissue type=error]$1" >&2 ;;
    *) echo "acr-token: error: $1" >&2 ;;
  esac
  stop_caller
  exit 1
}

usage() {
  while read -r line; do
    case $line in '#!'* | '{'*) ;; '#'*) line=${line#'#'} && printf '%s\n' "${line# }" ;; *) return ;; esac
  done <"$0"
}

find_http_client() {
  if command -v curl >/dev/null 2>&1; then
    http_client=curl
  elif command -v wget >/dev/null 2>&1 && case $(wget --version 2>&1) in *'GNU Wget'*) true ;; *) false ;; esac then
    http_client=wget
  else
    how_to_install
    # busybox's wget checks no certificate and sends the token on to wherever a redirect points.
    die_early "not installed here: curl (or GNU wget; busybox has another). $advice"
  fi
}

command=${1-}
locked=
case $command in
  token | login | logout | docker-config) ;;
  github-action | azure-pipelines) exec 2>&1 ;; # one stream: the order of masks and messages must hold
  *)
    usage
    exit 2
    ;;
esac

need awk cat chmod cp date id mkdir mktemp mv readlink rm rmdir sed sleep tail tr
# The job's own temporary directory, which the runner empties, where there is one.
temporary=${RUNNER_TEMP:-${AGENT_TEMPDIRECTORY:-${TMPDIR:-/tmp}}}
if [ "$command" != logout ]; then
  find_http_client
  settings
fi
work=$(mktemp -d "$temporary/acr-vending.XXXXXX") || die "cannot create a directory in $temporary"
unfinished=
trap 'unlock; rm -rf "$work"; [ -z "$unfinished" ] || rm -f "$unfinished"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [ "$command" = logout ]; then
  docker_logout
  exit
fi
vend
{ cat "$work/username" && printf : && cat "$work/token"; } >"$work/pair"
case $command in
  token) cat "$work/token" && echo ;;
  docker-config)
    docker_entry
    { printf '{"auths": {' && separator= && for host in $hosts; do printf '%s"%s": ' "$separator" "$host" && cat "$work/entry" && separator=', '; done && echo '}}'; }
    ;;
  login)
    docker_login true
    printf 'export DOCKER_CONFIG=%s\n' "$(shell_quoted "$config")"
    ;;
  github-action) github_action && success ;;
  azure-pipelines) azure_pipelines && success ;;
  *) ;;
esac
exit
}
