"""iPXE: boot scripts as pure functions, and the boot interface that points machines at them."""
