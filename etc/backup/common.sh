# shellcheck shell=bash
# What the backup scripts share. A backup appears under its own name only when it is whole: written beside it as .part,
# read back through encryption and compression, given its checksum, and renamed. Whatever fails ends the script with a
# status other than 0 and a last line that says why; that is what the daemon tells.
set -euo pipefail
export LC_ALL=C
umask 0027

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

settings=${WCR_BACKUP_SETTINGS:-/etc/wcr-backup/settings}
[ -r "$settings" ] || fail "cannot read $settings; begin with settings.example"
# shellcheck source=settings.example
. "$settings"

for name in ROOT ZONE; do
    [ -n "${!name-}" ] || fail "$settings does not set $name"
done

# The local time of the backup's name. An hour that comes twice in autumn is the reason to plan nothing for 01:00-02:00.
stamp() {
    TZ=$ZONE date +%Y%m%d_%H%M%S
}

# The lock is the kernel's: it ends with the script, however that ends.
one_at_a_time() {
    mkdir -p "$ROOT"
    exec 9>"$ROOT/.lock-$1"
    flock --nonblock 9 || fail "another run of $1 is going on"
}

# One passphrase for all, kept elsewhere as well: without it every backup is lost, so it is never made up here.
# From the environment when the daemon hands it over (it does not show in the list of processes), else from a file.
passphrase() {
    if [ -n "${WCR_BACKUP_PASSPHRASE-}" ]; then
        echo env:WCR_BACKUP_PASSPHRASE
    else
        [ -r "${PASSPHRASE_FILE-}" ] || fail "no passphrase: set PASSPHRASE_FILE in $settings to a file that is readable"
        # Its first line is the passphrase (openssl-passphrase-options(1)).
        [ -n "$(head -n 1 "$PASSPHRASE_FILE")" ] ||
            fail "the first line of $PASSPHRASE_FILE is empty: a backup without a passphrase is open to everybody"
        [ -z "$(find -L "$PASSPHRASE_FILE" -perm /o=rwx)" ] ||
            fail "everybody may read $PASSPHRASE_FILE: chmod o= it, and make another one if somebody has"
        echo "file:$PASSPHRASE_FILE"
    fi
}

key=""

seal() {
    openssl enc -aes-256-cbc -pbkdf2 -salt -pass "$key"
}

unseal() {
    openssl enc -d -aes-256-cbc -pbkdf2 -pass "$key" -in "$1"
}

# backups FOLDER SET: the finished ones of a set, oldest first: their names have the time, so that their order is that of
# time. Of "production" those of "production_2" are none.
digits='[0-9][0-9][0-9][0-9][0-9][0-9]'
backups() {
    find "$1" -maxdepth 1 -type f -name "$2_${digits}[0-9][0-9]_$digits.*.enc" 2>/dev/null | sort
}

# remove_tree FOLDER: also one with folders in it that nobody may write into. Of files nothing is changed: they are
# hard links, and the other trees' as well.
remove_tree() {
    [ ! -d "$1" ] || find "$1" -type d ! -perm -u=rwx -exec chmod u+rwx {} +
    rm -rf -- "$1"
}

# begin FOLDER NAME: $part is what to write; it goes when the script ends before `finish`. What a run left behind that
# was killed goes now: the lock says that nobody writes it any more.
begin() {
    local left
    mkdir -p "$ROOT/$1"
    rm -f "$ROOT/$1/.${2%_*_*}"_????????_??????.*.part*
    for left in "$ROOT/$1/${2%_*_*}"_????????_??????.*.sha256; do
        [ -e "${left%.sha256}" ] || rm -f "$left"
    done
    file=$ROOT/$1/$2
    part=$ROOT/$1/.$2.part
    [ ! -e "$file" ] || fail "$file is there already"
    trap 'rm -f "$part" "$part.sha256"' EXIT
}

# whole_dump FILE: whether a dump can be read to its last line. A stream that breaks off looks to psql like its end.
whole_dump() {
    local last
    last=$(unseal "$1" | gunzip | tail -n 20) || return
    [[ $last == *"PostgreSQL database dump complete"* ]]
}

# The checksum first, by the file's bare name, so that no backup is ever seen without one.
finish() {
    local sum
    sync "$part"
    sum=$(sha256sum <"$part")
    echo "${sum%% *}  ${file##*/}" >"$part.sha256"
    mv "$part.sha256" "$file.sha256"
    mv "$part" "$file"
    sync "${file%/*}"
    echo "$file: $(stat -c %s "$file") bytes"
}
