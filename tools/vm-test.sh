#!/bin/bash
# Runs the tests of control groups v2 and of systemd in a machine of their own:
# an emulated one with Debian's kernel, systemd and Docker engine. ds01 runs
# there as a whole, before an engine that leaves control groups to systemd, and
# with homes on NFS.
# Needs root, Go with a C compiler and no newer C library than Debian 12's, a
# Debian mirror and qemu-system-x86, debootstrap, e2fsprogs. The disk is made
# again when its recipe changes (two minutes), and kept in VM_CACHE.
# VM_ACCEL=kvm is faster where that works; VM_RUN picks tests of the whole.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${VM_CACHE:-/var/cache/ds01-vm-test}
for command in qemu-system-x86_64 debootstrap mke2fs; do
	command -v "$command" >/dev/null || { echo "vm-test: $command is missing" >&2; exit 1; }
done

make_disk() {
	local root=$1/root
	debootstrap --variant=minbase \
		--include=systemd,systemd-sysv,dbus,linux-image-cloud-amd64,initramfs-tools,zstd,udev,kmod,docker.io,containerd,runc,tini,iptables,busybox-static,curl,nfs-kernel-server \
		bookworm "$root" >"$1/debootstrap.log" 2>&1
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
	# tests start engines of their own
	chroot "$root" systemctl mask serial-getty@ttyS0.service docker.service docker.socket containerd.service 2>/dev/null
	chroot "$root" apt-get clean
	cp "$root"/boot/vmlinuz-* "$1/vmlinuz"
	cp "$root"/boot/initrd.img-* "$1/initrd"
	mke2fs -q -t ext4 -d "$root" "$1/disk" 3G
	rm -rf "$root"
}
# Named after its recipe, and there only when it is whole. Other recipes' go.
machine=$cache/machine-$(declare -f make_disk | sha256sum | cut -c1-16)
mkdir -p "$cache"
exec 9>"$cache/lock"
flock -s 9 # to the end: nobody takes a disk away that is in use
if [ ! -e "$machine" ]; then
	flock 9
	if [ ! -e "$machine" ]; then
		find "$cache" -maxdepth 1 -name "machine-*" -exec rm -rf {} +
		mkdir "$machine.part"
		make_disk "$machine.part"
		mv "$machine.part" "$machine"
	fi
	flock -s 9
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tests"
go build -trimpath -buildvcs=false -o "$work/tests/ds01" ./cmd/ds01
for package in cgroup systemd docker/scratch e2e/tenants e2e/files e2e/images; do
	go test -vet=off -c -tags systemd -o "$work/tests/$(basename "$package")" "./internal/$package"
done
cat >"$work/tests/run" <<RUN
#!/bin/sh
export CI=true HOME=/root DS01_TEST_BINARY=/mnt/ds01
cd /tmp
/mnt/cgroup -test.v -test.timeout 5m -test.bench . &&
/mnt/systemd -test.v -test.timeout 5m -test.bench . &&
/mnt/scratch -test.v -test.timeout 5m -test.run UnderSystemd &&
/mnt/tenants -test.v -test.timeout 40m -test.run '${VM_RUN:-UnderSystemd}' &&
/mnt/files -test.v -test.timeout 40m -test.run '${VM_RUN:-UnderSystemd}' &&
/mnt/images -test.v -test.timeout 40m -test.run '${VM_RUN:-UnderSystemd}' &&
echo vm-test: passed
RUN
chmod 755 "$work/tests/run"
mke2fs -q -t ext4 -d "$work/tests" "$work/tests.disk" 256M

timeout "${VM_TIMEOUT:-2700}" qemu-system-x86_64 -accel "${VM_ACCEL:-tcg}" -smp 2 -m 2048 -nographic -no-reboot -nic none \
	-kernel "$machine/vmlinuz" -initrd "$machine/initrd" \
	-append 'root=/dev/vda rw console=ttyS0 loglevel=3 apparmor=0 systemd.unified_cgroup_hierarchy=1 systemd.show_status=0' \
	-drive "file=$machine/disk,format=raw,if=virtio,snapshot=on" \
	-drive "file=$work/tests.disk,format=raw,if=virtio,readonly=on" </dev/null | tee "$work/console"
grep -q '^vm-test: passed' "$work/console"
none=${VM_RUN:+2} # it may pick none of two packages
[ "$(grep -c 'no tests to run' "$work/console")" -le "${none:-0}" ]
