"""The errors of ironic-python-agent 13 as its API shows them: type, code, message, details."""

from __future__ import annotations

_MESSAGES: dict[str, tuple[int, str]] = {
    "RESTError": (500, "An error occurred"),
    "CommandExecutionError": (500, "Command execution failed"),
    "InvalidCommandError": (400, "Invalid command"),
    "InvalidCommandParamsError": (400, "Invalid command parameters"),
    "RequestedObjectNotFoundError": (404, "Not found"),
    "AgentIsBusy": (409, "Agent is busy"),
    "ImageDownloadError": (500, "Error downloading image"),
    "ImageDownloadFatalError": (500, "Error downloading image"),
    "ImageChecksumError": (500, "Error verifying image checksum"),
    "ImageWriteError": (500, "Error writing image to device"),
    "BlockDeviceEraseError": (500, "Error erasing block device"),
    "VersionMismatch": (
        409,
        "Hardware managers version mismatch, reload agent with correct version",
    ),
    "CleaningError": (500, "Clean step failed"),
    "DeploymentError": (500, "Deploy step failed"),
    "ServicingError": (500, "Service step failed"),
    "InvalidImage": (500, "The provided image is not valid for use"),
    "DeviceNotFound": (
        404,
        "Error finding the disk or partition device to deploy the image onto",
    ),
    "HardwareManagerMethodNotFound": (500, "No HardwareManager found to handle method"),
}


class AgentError(Exception):
    """One of the agent's REST errors; `kind` is its class name there."""

    def __init__(self, kind: str, details: str) -> None:
        self.code, self.message = _MESSAGES[kind]
        self.kind = kind
        self.details = details
        super().__init__(f"{self.message}: {details}")

    def as_dict(self) -> dict[str, object]:
        return {
            "type": self.kind,
            "code": self.code,
            "message": self.message,
            "details": self.details,
        }


class LocalError(Exception):
    """Something that is no REST error there; the agent wraps it by the kind of command."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(text)
