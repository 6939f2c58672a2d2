"""A study over gRPC with nothing but the stubs: create it, watch it, read the comparison."""

import sys

import grpc
from google.protobuf.json_format import ParseDict

from assay.coordination.v1 import coordination_pb2 as api
from assay.coordination.v1.coordination_pb2_grpc import CoordinationServiceStub

SPEC = {
    "name": "from a client",
    "models": [{"uri": "demo"}],
    "recipes": [{"dense": {}}, {"gptq": {"bits": 3}}],
    "dimensions": ["ethics"],
    "pack": {"uri": "demo"},
    "row_limit": 4,
}


def main(server: str = "127.0.0.1:7400") -> None:
    """Runs the study on `server` and prints what happens."""
    coordinator = CoordinationServiceStub(grpc.insecure_channel(server))
    spec = ParseDict(SPEC, api.StudySpec())
    study = coordinator.CreateStudy(api.CreateStudyRequest(spec=spec)).study
    for change in coordinator.WatchStudy(api.WatchStudyRequest(id=study.meta.id)):
        progress = change.study.meta.progress
        sys.stdout.write(f"{progress.completed} of {progress.total} {change.event}\n")
    report = coordinator.GetReport(api.GetReportRequest(study_id=study.meta.id))
    for each in report.comparisons:
        low, high = each.interval_low, each.interval_high
        values = f"{each.difference:+.1f} [{low:+.1f}, {high:+.1f}]"
        sys.stdout.write(f"{each.variant_key} {each.dimension} {values}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
