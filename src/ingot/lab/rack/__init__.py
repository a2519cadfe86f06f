"""Real machines of the virtual rack: QEMU behind ipmi_sim and sushy-tools in one namespace."""
