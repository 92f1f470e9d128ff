"""Export feature stores for other toolkits, and import other toolkits' features."""

from typing import TYPE_CHECKING, Any

from pipeline.exports.config import ExportConfig, ImportConfig

if TYPE_CHECKING:
    from pipeline.exports.exporting import ExportReport as ExportReport
    from pipeline.exports.exporting import export as export
    from pipeline.exports.importing import ImportReport as ImportReport
    from pipeline.exports.importing import import_features as import_features
    from pipeline.exports.restoring import import_export as import_export

__all__ = ["ExportConfig", "ImportConfig"]


def __getattr__(name: str) -> Any:
    # Imported on demand: --help needs only the settings.
    if name in ("ExportReport", "export"):
        from pipeline.exports import exporting

        return getattr(exporting, name)
    if name == "import_export":  # not the name of its module: importing that would hide the function
        from pipeline.exports.restoring import import_export

        return import_export
    if name in ("ImportReport", "import_features"):
        from pipeline.exports import importing

        return getattr(importing, name)
    raise AttributeError(f"module 'pipeline.exports' has no attribute {name!r}")
