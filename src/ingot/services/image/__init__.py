"""Images: their descriptions, their content, and the ways by which machines fetch it.

The Image API v2 for stock clients; content is inspected before use and hashed while it comes in; deploy
URLs are unguessable, expire, and live on the provisioning listener.
"""

from ingot.services.image.inspection import inspect as inspect_image
from ingot.services.image.receiving import BEAT
from ingot.services.image.service import Images
from ingot.services.image.types import Image, ImageSettings, Progress, RawView

__all__ = ["BEAT", "Image", "ImageSettings", "Images", "Progress", "RawView", "inspect_image"]
