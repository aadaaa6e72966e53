# SPDX-License-Identifier: Apache-2.0
"""Write rings and settings of an OpenStack Swift of one machine that speaks S3: FOLDER PORT."""

import getpass
import sys
from pathlib import Path

from swift.common.ring import RingBuilder

FOLDER, PORT = Path(sys.argv[1]), int(sys.argv[2])
COMMON = f"""\
swift_dir = {FOLDER}
user = {getpass.getuser()}
bind_ip = 127.0.0.1
workers = 0
mount_check = false
devices = {FOLDER}/devices
log_address = {FOLDER}/no-log
"""
PROXY = "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk s3api tempauth copy slo dlo proxy"
SETTINGS = {
    "proxy-logging": "use = egg:swift#proxy_logging",
    "cache": "use = egg:swift#memcache\nmemcache_servers = 127.0.0.1:1",
    "tempauth": "use = egg:swift#tempauth\nuser_test_tester = testing .admin",
    "s3api": "use = egg:swift#s3api\ndns_compliant_bucket_names = no\nlocation = us-east-1\n"
    "force_swift_request_proxy_log = no",
}


def write(name: str, text: str) -> None:
    (FOLDER / name).write_text(text)


(FOLDER / "devices" / "disk").mkdir(parents=True)
write("swift.conf", "[swift-hash]\nswift_hash_path_suffix = s\nswift_hash_path_prefix = p\n")
filters = [name for name in PROXY.split() if name != "proxy"]
write(
    "proxy-server.conf",
    f"[DEFAULT]\n{COMMON}bind_port = {PORT}\n[pipeline:main]\npipeline = {' '.join(filters)} proxy-server\n"
    "[app:proxy-server]\nuse = egg:swift#proxy\nallow_account_management = true\naccount_autocreate = true\n"
    + "".join(f"[filter:{name}]\n{SETTINGS.get(name, f'use = egg:swift#{name}')}\n" for name in filters),
)
for number, kind in enumerate(("account", "container", "object"), 1):
    sharder = "[container-sharder]\n" if kind == "container" else ""
    write(
        f"{kind}-server.conf",
        f"[DEFAULT]\n{COMMON}bind_port = {PORT + number}\n[pipeline:main]\npipeline = {kind}-server\n"
        f"[app:{kind}-server]\nuse = egg:swift#{kind}\n{sharder}",
    )
    builder = RingBuilder(2, 1, 0)
    device = {
        "id": 0,
        "region": 1,
        "zone": 1,
        "ip": "127.0.0.1",
        "port": PORT + number,
        "device": "disk",
        "weight": 1.0,
    }
    builder.add_dev({**device, "replication_ip": "127.0.0.1", "replication_port": PORT + number, "meta": ""})
    builder.rebalance()
    builder.get_ring().save(f"{FOLDER}/{kind}.ring.gz")
