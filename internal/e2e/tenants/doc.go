// Package tenants tries what one person may, and what another's is, with stock
// clients and the ds01 commands, as Unix users, on a real engine: access, limits
// in the kernel, devices, policy, the audit log. It has no code of its own.
package tenants
