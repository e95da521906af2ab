#!/bin/sh
set -e
echo "$VERSION $(id -u) $_REMOTE_USER" >/usr/tool
