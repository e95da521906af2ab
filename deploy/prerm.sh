#!/bin/sh
# Run by dpkg before the package goes. A host that ds01 was put before would be
# left without Docker's socket.
if [ "$1" = remove ] && [ -e /var/lib/ds01/install/manifest.json ]; then
	echo "ds01 stands before this host's Docker engine: run 'ds01 uninstall' first." >&2
	exit 1
fi
