"""The distribution `headrace`. Tool settings are in pyproject.toml, exact versions in the lock.

`bootstrap/requirements.lock` is resolved from this file (`make lock`), for Python 3.11, 3.12
and 3.13 at once. What TFX 1.21 was measured with is pinned here; the rest has a range.
"""

from setuptools import find_packages, setup

ROOMS = ("pipeline", "models", "serving")

# What the command line and the REST client need: a machine that only asks gets no more.
BASE = [
    "click>=8.1,<9",
    "httpx>=0.28,<1",
    "pydantic>=2.10,<3",
    "rich>=13.9,<16",
]

GRPC = "grpcio>=1.80,<2"
NUMPY = "numpy>=2.0,<3"
PROTOBUF = "protobuf>=6.33,<7"
PYARROW = "pyarrow>=18.1,<19"

# The client over gRPC, and reading Parquet. No TensorFlow.
CLIENT = [GRPC, PROTOBUF, PYARROW]

# The embedded model server.
SERVER = [
    GRPC,
    "grpcio-health-checking>=1.80,<2",
    "grpcio-reflection>=1.80,<2",
    "httptools>=0.6,<1",
    NUMPY,
    PROTOBUF,
    "starlette>=0.41,<2",
    "tensorflow==2.21.0",
    "tensorflow-serving-api==2.19.1",  # tfx-bsl caps it below 2.20
    "uvicorn>=0.32,<1",
    "uvloop>=0.21,<1; sys_platform != 'win32'",
]

# Making models; a candidate is tried in the embedded server.
PIPELINE = [
    *SERVER,
    *CLIENT,
    "apache-beam==2.77.0",
    "duckdb>=2.0,<3",
    "jinja2>=3.1.6,<4",
    "keras==3.15.1",
    "ml-metadata==1.21.0",
    "tensorboard==2.21.0",  # TensorFlow 2.21 no longer brings it; its Keras callback needs it
    "tensorflow-data-validation==1.21.0",
    "tensorflow-metadata==1.21.0",
    "tensorflow-model-analysis==0.52.0",
    "tensorflow-transform==1.21.0",
    "tfx==1.21.0",
    "tfx-bsl==1.21.0",
]

EXTRAS = {
    "client": CLIENT,
    "server": SERVER,
    "pipeline": sorted(set(PIPELINE)),
    # TFX's own [kfp] extra installs nothing on Python 3.12 and later.
    "vertex": [
        "cel-python>=0.5,<0.6",  # conditions of tasks, as Vertex evaluates them
        "google-cloud-aiplatform>=1.165,<2",
        "google-cloud-storage>=3.4,<4",
        "kfp==2.16.1",
        "pyyaml>=6,<7",
    ],
    "dev": [
        "compose-spec>=0.2,<0.3",  # these and two more check the files in serving/deploy
        "fastapi>=0.115,<1",  # the plain app that benchmarks/serving.py compares with
        "hypothesis>=6.100,<7",
        "import-linter>=2.17,<3",
        "jsonschema>=4,<5",
        "kubernetes-validate>=1.33,<2",
        "mypy>=2.4,<3",
        "networkx>=3.4,<3.7",  # dominators, for the proof that no way leads round the gates
        "pip>=25",  # Beam and TFX call `python -m pip` when they stage packages
        "promql-parser>=0.6,<1",
        "pytest>=9,<10",
        "pytest-timeout>=2.4,<3",
        "pytest-xdist>=3.8,<4",
        "pyyaml>=6,<7",
        "ruff>=0.17,<0.18",
        "schemathesis>=4,<5",
        "scikit-learn==1.5.2",  # the yardstick in benchmarks/quality.py; TFX pins it
        "setuptools>=80",
    ],
}

setup(
    name="headrace",
    version="0.1.0",
    description="A TFX pipeline with gates: real spans in, a blessed and served model out",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=[name for room in ROOMS for name in (room, f"{room}.*")]),
    package_data={
        "": [
            f"**/*.{ending}"
            for ending in (
                "config css html js json md pbtxt sh sql svg toml txt typed yaml yml".split()
            )
        ]
    },
    install_requires=BASE,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "headrace = pipeline.cli.main:main",
            "headrace-beam-worker = pipeline.beam_worker:main",
        ]
    },
    zip_safe=False,
)
