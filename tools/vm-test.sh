#!/bin/bash
# Runs the tests of control groups v2 and of systemd in a machine of their own:
# an emulated one with Debian's kernel and systemd. Needs root, a Debian mirror
# and qemu-system-x86, debootstrap, e2fsprogs. The disk is made once (two
# minutes) and kept in VM_CACHE. VM_ACCEL=kvm is faster where that works.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${VM_CACHE:-/var/cache/ds01-vm-test}
for command in qemu-system-x86_64 debootstrap mke2fs; do
	command -v "$command" >/dev/null || { echo "vm-test: $command is missing" >&2; exit 1; }
done

make_disk() {
	local root=$cache/root
	rm -rf "$cache" && mkdir -p "$cache"
	debootstrap --variant=minbase \
		--include=systemd,systemd-sysv,dbus,linux-image-cloud-amd64,initramfs-tools,zstd,udev,kmod \
		bookworm "$root" >"$cache/debootstrap.log" 2>&1
	cat >"$root/etc/systemd/system/ds01-test.service" <<-'UNIT'
		[Unit]
		After=multi-user.target dbus.service
		[Service]
		Type=oneshot
		StandardOutput=tty
		StandardError=tty
		TTYPath=/dev/ttyS0
		ExecStart=/bin/sh -c 'mount -o ro /dev/vdb /mnt && /mnt/run'
		ExecStopPost=/bin/systemctl --no-block poweroff
		[Install]
		WantedBy=multi-user.target
	UNIT
	chroot "$root" systemctl enable ds01-test.service 2>/dev/null
	chroot "$root" systemctl mask serial-getty@ttyS0.service 2>/dev/null
	cp "$root"/boot/vmlinuz-* "$cache/vmlinuz"
	cp "$root"/boot/initrd.img-* "$cache/initrd"
	mke2fs -q -t ext4 -d "$root" "$cache/disk.part" 1200M
	rm -rf "$root"
	mv "$cache/disk.part" "$cache/disk" # whole, or not there
}
[ -e "$cache/disk" ] || make_disk

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tests"
export CGO_ENABLED=0
go test -vet=off -c -o "$work/tests/cgroup" ./internal/cgroup
go test -vet=off -c -tags systemd -o "$work/tests/systemd" ./internal/systemd
cat >"$work/tests/run" <<'RUN'
#!/bin/sh
export CI=true
cd /tmp
/mnt/cgroup -test.v -test.timeout 2m -test.bench . && /mnt/systemd -test.v -test.timeout 2m -test.bench . && echo vm-test: passed
RUN
chmod 755 "$work/tests/run"
mke2fs -q -t ext4 -d "$work/tests" "$work/tests.disk" 64M

timeout "${VM_TIMEOUT:-600}" qemu-system-x86_64 -accel "${VM_ACCEL:-tcg}" -smp 2 -m 1024 -nographic -no-reboot -nic none \
	-kernel "$cache/vmlinuz" -initrd "$cache/initrd" \
	-append 'root=/dev/vda rw console=ttyS0 loglevel=3 apparmor=0 systemd.unified_cgroup_hierarchy=1 systemd.show_status=0' \
	-drive "file=$cache/disk,format=raw,if=virtio,snapshot=on" \
	-drive "file=$work/tests.disk,format=raw,if=virtio,readonly=on" </dev/null | tee "$work/console"
grep -q '^vm-test: passed' "$work/console"
