"""ELAN's files, in the schema EAF 3.0; pympi-ling, which reads them, is an extra."""

import sys

import pytest

from pipeline.errors import PipelineError
from tests.pipeline.annotations.tools.reading import faults_of, read, told

pytest.importorskip("pympi")

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2026-01-02T03:04:05+01:00" FORMAT="3.0" VERSION="3.0"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
"""
HEADER = """    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/films/sound.wav" MIME_TYPE="audio/x-wav"/>
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/films/walk%2001.mp4" MIME_TYPE="video/mp4"
            RELATIVE_MEDIA_URL="./walk%2001.mp4"/>
        <PROPERTY NAME="lastUsedAnnotationId">5</PROPERTY>
    </HEADER>
"""
BODY = """    <TIME_ORDER>
        <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="780"/>
        <TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="1590"/>
        <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="2000"/>
        <TIME_SLOT TIME_SLOT_ID="ts4"/>
        <TIME_SLOT TIME_SLOT_ID="ts5" TIME_VALUE="4000"/>
    </TIME_ORDER>
    <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="action">
        <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
                <ANNOTATION_VALUE>stand up</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
        <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
                <ANNOTATION_VALUE>walk</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    </TIER>
    <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="talks">
        <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a3" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts5">
                <ANNOTATION_VALUE/></ALIGNABLE_ANNOTATION></ANNOTATION>
    </TIER>
    <TIER LINGUISTIC_TYPE_REF="note" PARENT_REF="action" TIER_ID="note">
        <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a4" ANNOTATION_REF="a1">
                <ANNOTATION_VALUE>slowly</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
    </TIER>
    <LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true"/>
    <LINGUISTIC_TYPE CONSTRAINTS="Symbolic_Association" GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="note"
        TIME_ALIGNABLE="false"/>
    <CONSTRAINT DESCRIPTION="1-1 association with a parent annotation" STEREOTYPE="Symbolic_Association"/>
</ANNOTATION_DOCUMENT>
"""
EAF = HEAD + HEADER + BODY


def test_values_are_labels_and_so_is_the_name_of_a_tier_without_values(tmp_path):
    annotations = read(tmp_path / "session.eaf", EAF)
    assert told(annotations) == {"walk 01": [(0.78, 1.59, "stand up"), (2.0, 4.0, "talks")]}
    assert set(annotations.problems) == {
        "left out: 1 annotation without times",
        "left out: 1 annotation of dependent tiers",
    }


def test_the_files_name_serves_where_no_video_is_linked(tmp_path):
    text = EAF.replace("video/mp4", "audio/x-wav")
    assert list(told(read(tmp_path / "session.eaf", text))) == ["session"]


def test_the_time_origin_of_the_video_is_added(tmp_path):
    text = EAF.replace('MIME_TYPE="video/mp4"', 'MIME_TYPE="video/mp4" TIME_ORIGIN="10000"')
    assert told(read(tmp_path / "s.eaf", text))["walk 01"][0] == (10.78, 11.59, "stand up")


def test_a_reversed_annotation_is_told_by_tier_and_id(tmp_path):
    (line,) = faults_of(tmp_path / "s.eaf", EAF.replace('TIME_VALUE="780"', 'TIME_VALUE="2780"'))
    assert line.startswith("tier 'action', annotation a1: video 'walk 01': [2.78, 1.59] ends before it starts")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (EAF.replace('"milliseconds"', '"NTSC-frames"'), "counts time in 'NTSC-frames'; save it in milliseconds"),
        (EAF.replace("<ANNOTATION_DOCUMENT", '<!DOCTYPE x [<!ENTITY a "b">]><ANNOTATION_DOCUMENT'), "document type"),
        (EAF.replace('TIME_VALUE="780"', 'TIME_VALUE="now"'), "is no whole file of ELAN (ValueError"),
        (EAF.replace('TIME_SLOT_REF1="ts1"', ""), "is no whole file of ELAN (KeyError"),
        (EAF[:900], "is not XML"),
    ],
)
def test_a_damaged_file_is_refused_on_one_line(tmp_path, text, says):
    with pytest.raises(PipelineError) as error:
        read(tmp_path / "s.eaf", text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_without_pympi_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pympi", None)
    with pytest.raises(PipelineError, match=r"reading it needs pip install 'sola-pipeline\[elan\]'"):
        read(tmp_path / "s.eaf", EAF)
