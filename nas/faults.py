"""Which exceptions are a user's faults, and how they are told: a sentence, no traceback."""

from __future__ import annotations

from hwprofile.bench import BenchError
from hwprofile.calibration import CalibrationError
from hwprofile.device import DeviceFileError, UnknownTargetError
from hwprofile.kernel_rows import KernelTableError
from hwprofile.profile_table import ProfileError
from hwprofile.runtime import UnknownRuntimeError
from hwprofile.script_target import ScriptError
from hwprofile.spread import CoverageError
from hwprofile.trace import TraceError
from hwprofile.whole import WholeError
from kernels.catalogue import UnknownOperationError
from kernels.check_process import CheckProcessError
from kernels.inspection import InspectionError
from kernels.toolchain import AheadOfTimeError
from nas.cluster import ClusterError
from nas.config import ConfigError
from nas.data import DataError, UnknownDataError
from nas.evaluate import PredictorFault
from nas.export.errors import ExportError
from nas.plugins import PluginError
from nas.record import RecordError
from nas.scaling.programme import ScaleError
from nas.search import NoFeasibleError, StrategyFault
from nas.solver.combinations import ChainError
from nas.solver.milp import TooLargeError
from nas.solver.solution import NoDesignError
from nas.supernet.bank import BankError
from nas.usage import UsageError
from searchspace.check import TreeError
from searchspace.grammar import GrammarError, LimitError
from searchspace.primitives import PrimitiveError
from searchspace.sample import DrawError
from searchspace.shapes import ShapeError
from searchspace.space import UnknownSpaceError
from searchspace.text import TreeTextError

USAGE_FAULTS = (
    UsageError,
    UnknownOperationError,
    UnknownSpaceError,
    UnknownTargetError,
    UnknownRuntimeError,
    CoverageError,
    UnknownDataError,
    PluginError,
    LimitError,
    PrimitiveError,
)
"""Something that was typed: exit code 2."""
USER_FAULTS = (
    AheadOfTimeError,
    BankError,
    BenchError,
    CalibrationError,
    ChainError,
    CheckProcessError,
    ClusterError,
    ConfigError,
    DataError,
    DeviceFileError,
    DrawError,
    ExportError,
    GrammarError,
    InspectionError,
    KernelTableError,
    NoDesignError,
    NoFeasibleError,
    OSError,
    PredictorFault,
    ProfileError,
    RecordError,
    ScaleError,
    ScriptError,
    ShapeError,
    StrategyFault,
    TooLargeError,
    TraceError,
    TreeError,
    TreeTextError,
    WholeError,
)
"""Something that a file, a device or the space does not allow: exit code 1."""


def sentence(fault: BaseException) -> str:
    """What a fault says, for people."""
    if isinstance(fault, OSError) and fault.strerror:
        place = f": {fault.filename}" if fault.filename else ""
        return f"{fault.strerror}{place}; what was recorded before is kept"
    return str(fault)
