#!/bin/sh
# Names everything this machine lacks, and how to install it; exits 1 if anything.
# Usage: prerequisites.sh PYTHON [java] [maven]

lacking=0
lack() {
    echo "letheia: $1 is missing. $2" >&2
    lacking=1
}

python=$1
shift

[ "$(uname -s)" = Linux ] || lack Linux "Letheia's local stack runs on Linux only."

if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
    lack "Python 3.11, 3.12 or 3.13" "Install it (Debian, Ubuntu: apt install python3 python3-venv), or name one: make PYTHON=python3.12."
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    lack "Python's venv module" "Install it (Debian, Ubuntu: apt install python3-venv)."
fi

for part in "$@"; do
    case $part in
    java)
        version=$("${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
        [ "${version:-0}" -ge 17 ] ||
            lack "Java 17 or later" "Kafka needs it (Debian, Ubuntu: apt install openjdk-17-jre-headless)."
        ;;
    maven)
        command -v mvn >/dev/null || lack Maven "It fetches Kafka's jars (Debian, Ubuntu: apt install maven)."
        ;;
    esac
done

exit $lacking
