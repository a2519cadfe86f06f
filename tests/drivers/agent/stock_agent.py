"""Run by a Python that has ironic-python-agent 13: its real command API, without a machine.

The web application, the extensions, the TLS certificate and the command bookkeeping are the
package's own. Only the hardware manager is ours, so that no command can touch this host's disks:
its root disk is a plain file, and commands that would stop the host are taken away.

usage: stock_agent.py TOKEN FOLDER     (prints the port; the certificate is FOLDER/agent.crt)
"""

import os
import socket
import sys
import threading
import time

from ironic_python_agent import agent, errors, hardware, tls_utils
from ironic_python_agent.api import app
from ironic_python_agent.extensions import base
from oslo_config import cfg

TOKEN, FOLDER = sys.argv[1:3]


class BenchManager(hardware.HardwareManager):
    HARDWARE_MANAGER_NAME = "BenchManager"
    HARDWARE_MANAGER_VERSION = "1"

    def evaluate_hardware_support(self):
        return hardware.HardwareSupport.MAINLINE

    def get_clean_steps(self, node, ports):
        return [step("rest", 10), step("fail", 20)]

    def get_deploy_steps(self, node, ports):
        return [step("write_image", 0), step("rest", 5)]

    def get_service_steps(self, node, ports):
        return []

    def rest(self, node, ports, seconds=0.5):
        time.sleep(float(seconds))
        return f"{node['uuid']} rested"

    def fail(self, node, ports):
        raise errors.BlockDeviceEraseError("/dev/sdz is on fire")

    def write_image(self, node, ports, image_info, configdrive=None):
        command = base.get_extension("standby").prepare_image(
            image_info=image_info, configdrive=configdrive
        )
        return command.wait()

    def get_os_install_device(self, permit_refresh=False):
        return os.path.join(FOLDER, "disk")

    def wait_for_disks(self):
        return None

    def full_sync(self):
        return None


def step(name, priority):
    return {"step": name, "priority": priority, "interface": "deploy", "reboot_requested": False}


def main() -> None:
    cfg.CONF([], project="ironic-python-agent")
    cfg.CONF.set_override("image_download_connection_retries", 0)
    cfg.CONF.set_override("image_download_connection_retry_interval", 0)
    hardware._global_managers = [{"name": "BenchManager", "manager": BenchManager(), "support": 3}]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = agent.Host("127.0.0.1", port)
    bench = agent.IronicPythonAgent(
        "http://127.0.0.1:9", address, address, 1, 1, None, 10, 1, True, TOKEN, 0
    )
    bench.ext_mgr = base.init_ext_manager(bench)
    for command in ("power_off", "run_image"):
        bench.ext_mgr["standby"].obj.command_map.pop(command)
    certificate = os.path.join(FOLDER, "agent.crt")
    key = os.path.join(FOLDER, "agent.key")
    tls_utils._generate_tls_certificate(certificate, key, "bench", "127.0.0.1")
    app.Application(bench, cfg.CONF).start(certificate, key)
    print(port, flush=True)
    threading.Event().wait()


main()
