"""All faults, by name."""

from __future__ import annotations

from pipeline.audit.contract_faults import CONTRACT_FAULTS
from pipeline.audit.data_faults import DATA_FAULTS
from pipeline.audit.fault import Fault
from pipeline.audit.file_faults import FILE_FAULTS
from pipeline.audit.model_faults import MODEL_FAULTS

FAULTS: dict[str, Fault] = {
    fault.name: fault for fault in (*FILE_FAULTS, *CONTRACT_FAULTS, *DATA_FAULTS, *MODEL_FAULTS)
}
