# shellcheck shell=sh
# Tells people at login what they should know of their containers.
case $- in
*i*) if [ -t 1 ] && command -v ds01 >/dev/null 2>&1; then ds01 greeting; fi ;;
esac
