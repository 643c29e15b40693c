"""Where a query keeps how far it is: a folder of the disk or of the object store, read in the same way.

Spark writes it. Here is looked at what is there, and a folder that is of no use is removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pyarrow.fs import AwsStandardS3RetryStrategy, FileSelector, FileSystem, FileType, LocalFileSystem, S3FileSystem

from include.settings import Settings

TRIES = 5
"""How often a call to the store is made until it counts as failed."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One query's folder. Every method raises OSError if the disk or the store does not answer.

    Args:
        location: The folder as Spark names it.
    """

    location: str
    _files: FileSystem
    _folder: str

    @classmethod
    def of(cls, settings: Settings, name: str) -> Self:
        """Return the checkpoint of a name in the place that the settings choose."""
        return cls.on_disk(settings, name) if settings.checkpoints == "disk" else cls.on_store(settings, name)

    @classmethod
    def left_by(cls, settings: Settings, name: str) -> Self:
        """Return the checkpoint of a name in the place that other settings chose."""
        return cls.on_store(settings, name) if settings.checkpoints == "disk" else cls.on_disk(settings, name)

    @classmethod
    def on_disk(cls, settings: Settings, name: str) -> Self:
        """Return the checkpoint of a name in the state folder."""
        folder = settings.state_dir / "checkpoints" / name
        return cls(folder.as_uri(), LocalFileSystem(), str(folder))

    @classmethod
    def on_store(cls, settings: Settings, name: str) -> Self:
        """Return the checkpoint of a name in the bucket."""
        access, secret = settings.s3_access_key, settings.s3_secret_key
        store = S3FileSystem(
            access_key=access and access.get_secret_value(),
            secret_key=secret and secret.get_secret_value(),
            endpoint_override=settings.s3.address,
            scheme="http",
            region="us-east-1",
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=TRIES),
        )
        folder = f"{settings.bucket}/checkpoints/{name}"
        return cls(f"s3a://{folder}", store, folder)

    def exists(self, part: str = "") -> bool:
        """Tell whether the folder, or a file or folder in it, is there."""
        return self._files.get_file_info(self._path(part)).type is not FileType.NotFound

    def batches(self, part: str) -> list[int]:
        """Return the numbers of the batches that have a file in a folder; none if that is not there."""
        names = (info.base_name for info in self._files.get_file_info(FileSelector(self._path(part), True)))
        return [int(name) for name in names if name.isdecimal()]

    def read(self, part: str) -> str:
        """Return the text of a file."""
        with self._files.open_input_stream(self._path(part)) as file:
            text: str = file.read().decode()
            return text

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        self._files.delete_dir(self._folder)

    def _path(self, part: str) -> str:
        return f"{self._folder}/{part}" if part else self._folder
