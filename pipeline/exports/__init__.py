"""Feature stores for other toolkits, and feature stores from other toolkits' features."""

from pipeline.exports.config import ExportConfig, ImportConfig
from pipeline.exports.exporting import ExportReport, export
from pipeline.exports.import_export import import_export
from pipeline.exports.importing import ImportReport, import_features

__all__ = [
    "ExportConfig",
    "ExportReport",
    "ImportConfig",
    "ImportReport",
    "export",
    "import_export",
    "import_features",
]
