"""The generated stubs under one roof: `from assay_core.pb import common_pb2, serving_pb2`.

Protobuf stops at the servicer: convert to domain types once, then work on those.
"""

from assay.common.v1 import recipe_pb2, state_pb2
from assay.compression.v1 import compression_pb2, compression_pb2_grpc
from assay.coordination.v1 import comparison_pb2, coordination_pb2, coordination_pb2_grpc
from assay.evaluation.v1 import evaluation_pb2, evaluation_pb2_grpc, pack_pb2, pack_pb2_grpc
from assay.scoring.v1 import scoring_pb2, scoring_pb2_grpc
from assay.serving.v1 import serving_pb2, serving_pb2_grpc
from assay_core import _common_pb2 as common_pb2

__all__ = [
    "common_pb2",
    "comparison_pb2",
    "compression_pb2",
    "compression_pb2_grpc",
    "coordination_pb2",
    "coordination_pb2_grpc",
    "evaluation_pb2",
    "evaluation_pb2_grpc",
    "pack_pb2",
    "pack_pb2_grpc",
    "recipe_pb2",
    "scoring_pb2",
    "scoring_pb2_grpc",
    "serving_pb2",
    "serving_pb2_grpc",
    "state_pb2",
]
