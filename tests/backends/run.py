#!/usr/bin/env python3
"""Installs and starts the real backends for a command, and stops them after it.

    tests/backends/run.py [--folder FOLDER] COMMAND [ARGUMENT ...]
    tests/backends/run.py --plan FOLDER [NODES]

nats-server (a wheel), Postgres (Debian's package), Cassandra and an S3-compatible store (S3Proxy; both jars) listen on free loopback ports; their
data is in a temporary folder, or in one that stays. Their addresses reach the command as MADANG_TEST_NATS, MADANG_TEST_POSTGRES, MADANG_TEST_CASSANDRA
and MADANG_TEST_S3 (its key is `key`, with the secret `its-secret`; its bucket `pictures`), with Postgres's own log as MADANG_TEST_POSTGRES_LOG; programs that tests start are a browser (Debian's Chromium), MADANG_TEST_CHROMIUM, and
an OpenTelemetry collector (Rotel, a wheel), MADANG_TEST_COLLECTOR. For back-ups Postgres's programs are in the PATH, and
MADANG_TEST_CASSANDRA_JMX is where nodetool connects. What is missing and can't be installed is a failure. Downloads are kept in .tools/.

--plan starts nothing: it prepares FOLDER and says, as JSON, how each server is started, for who wants to start, stop
and kill them by itself. There are three nats-servers then, a cluster; each dials the others through a port of its own
("links"), where whoever starts them has to listen and forward. Of Cassandra there are NODES, on 127.0.0.1, 127.0.0.2, …, or one.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = HERE.parent.parent / ".tools"


def run(*command, **options):
    subprocess.run(command, check=True, **options)


TAKEN = set()


def free_port():
    """None that the system hands out to connections by itself: one of those could take it meanwhile. Never one twice."""
    while True:
        port = random.randrange(10_000, 30_000)
        if port in TAKEN:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                TAKEN.add(port)
                return port
            except OSError:
                pass


def wait(what, ready, process, log, seconds=300):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ready():
            return
        if process is not None and process.poll() is not None:
            break
        time.sleep(0.05)
    text = log.read_text(errors="replace")[-3000:] if log.exists() else ""
    sys.exit(f"{what} did not become ready:\n{text}")


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
        return True
    except OSError:
        return False


def install_wheels():
    """The tools that come as wheels."""
    venv = TOOLS / "wheels"
    wanted = (HERE / "requirements.txt").read_text()
    stamp = venv / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        run(sys.executable, "-m", "venv", "--clear", str(venv))
        run(str(venv / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "-r", str(HERE / "requirements.txt"))
        stamp.write_text(wanted)
    return venv / "bin"


def install_package(name):
    """A package of Debian's."""
    quiet = {"stdout": subprocess.DEVNULL}
    run("apt-get", "update", "-qq", **quiet)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", name, env=environment, **quiet)


def install_postgres():
    """The folder of initdb and pg_ctl."""
    def found():
        return sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found():
        install_package("postgresql")
    if not found():
        sys.exit("Postgres is not installed, and could not be")
    return found()[-1].parent


def install_chromium():
    """The program."""
    if not shutil.which("chromium"):
        install_package("chromium")
    return shutil.which("chromium") or sys.exit("Chromium is not installed, and could not be")


def install_jars(name, main):
    """The folder of a program's jars, of which one is named so."""
    jars = TOOLS / name
    if not list(jars.glob(f"{main}-*.jar")):
        plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
        run("mvn", "-B", "-q", "-f", str(HERE / f"{name}.xml"), plugin, "-DincludeScope=runtime", f"-DoutputDirectory={jars}")
    return jars


def nats_server(bin_folder, folder, name="test", cluster=""):
    """How a nats-server is started; `cluster` goes into its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    port, monitor = free_port(), free_port()
    config = folder / "nats.conf"
    config.write_text(
        f'listen: "127.0.0.1:{port}"\nhttp: "127.0.0.1:{monitor}"\nserver_name: {name}\nmax_payload: 2MB\n'
        f'jetstream {{ store_dir: "{folder}/js", max_file_store: 64GB, max_memory_store: 4GB, sync_interval: always }}\n'
        f"{cluster}"
    )
    command = [str(bin_folder / "nats-server"), "-c", str(config)]
    return {"name": name, "command": command, "log": str(folder / "log"), "port": port, "monitor": monitor}


def nats_cluster(bin_folder, folder):
    """How three nats-servers that make a cluster are started, and the links between them."""
    numbers = (1, 2, 3)
    ports = {number: free_port() for number in numbers}
    links = [
        {"from": f"nats-{one}", "to": f"nats-{other}", "port": free_port(), "target": ports[other]}
        for one in numbers for other in numbers if one != other
    ]
    servers = []
    for number in numbers:
        name = f"nats-{number}"
        routes = ", ".join(f'"nats-route://127.0.0.1:{link["port"]}"' for link in links if link["from"] == name)
        # Nobody is told of an address that goes around the links; what is told to servers leads to a link as well.
        told = next(link["port"] for link in links if link["to"] == name)
        cluster = (
            f'cluster {{ name: madang, listen: "127.0.0.1:{ports[number]}", advertise: "127.0.0.1:{told}", '
            f"no_advertise: true, routes: [{routes}] }}\n"
        )
        servers.append(nats_server(bin_folder, folder / name, name, cluster))
    return servers, links


def postgres_server(bin_folder, folder):
    """How Postgres is started; its data folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    prefix = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        folder.chmod(0o700)
        prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    data = folder / "data"
    options = ["-U", "app", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions"]
    if not data.exists():
        run(*prefix, str(bin_folder / "initdb"), "-D", str(data), *options, stdout=subprocess.DEVNULL)
    settings = {
        "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": 100,
        "shared_buffers": os.environ.get("MADANG_TEST_SHARED_BUFFERS", "64MB"), "fsync": "on",
    }
    flags = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    command = [*prefix, str(bin_folder / "postgres"), "-D", str(data), *flags]
    return {"name": "postgres", "command": command, "log": str(folder / "log"), "port": port}


def cassandra_server(jars, folder, stays, number=1, count=1, ports=None):
    """How a node of Cassandra is started; those of a ring have the same ports, and an address each."""
    # Tests want it up soon; what stays is worth the better compiler, which halves what a row costs.
    heap, compiler = ("1g", "") if stays else ("512m", "-XX:TieredStopAtLevel=1")
    for name in ("data", "logs", "tmp", "conf"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    cql, storage = ports or (free_port(), free_port())
    jmx, address, token = free_port(), f"127.0.0.{number}", (number - 1) * (2**63 // count)
    conf = folder / "conf"
    (conf / "cassandra.yaml").write_text(f"""\
cluster_name: test
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
commitlog_sync: batch
seed_provider: [{{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{{seeds: "127.0.0.1:{storage}"}}]}}]
listen_address: {address}
rpc_address: {address}
storage_port: {storage}
native_transport_port: {cql}
num_tokens: 1
initial_token: "{token}"
auto_bootstrap: false
hinted_handoff_enabled: true
auto_snapshot: false
memtable_heap_space: 64MiB
memtable_offheap_space: 64MiB
file_cache_size: 32MiB
commitlog_total_space: 256MiB
commitlog_segment_size: 8MiB
concurrent_reads: 8
concurrent_writes: 128
""")
    (conf / "logback.xml").write_text(
        '<configuration><appender name="C" class="ch.qos.logback.core.ConsoleAppender"><encoder>'
        "<pattern>%-5level %d{HH:mm:ss.SSS} %logger{20} %msg%n</pattern></encoder></appender>"
        '<root level="INFO"><appender-ref ref="C"/></root></configuration>')
    jvm = f"""\
-Xms{heap} -Xmx{heap} -XX:MaxDirectMemorySize=256m -Xss512k -XX:+UseSerialGC {compiler} -XX:+ExitOnOutOfMemoryError
-Djdk.attach.allowAttachSelf=true -Djava.io.tmpdir={folder}/tmp -Djna.tmpdir={folder}/tmp
-Dio.netty.tryReflectionSetAccessible=true -Dio.netty.allocator.useCacheForAllThreads=true -Dio.netty.allocator.maxOrder=11
-Dcassandra.config=file://{conf}/cassandra.yaml -Dcassandra.storagedir={folder}/data -Dcassandra.logdir={folder}/logs
-Dlogback.configurationFile=file://{conf}/logback.xml -Dcassandra-foreground=yes -Dcassandra.jmx.local.port={jmx}
-Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.ring_delay_ms=100 -Dcassandra.load_ring_state=false
-Dcassandra.superuser_setup_delay_ms=0 -Dcassandra.shutdown_announce_in_ms=0
"""
    (conf / "jvm.args").write_text(jvm)
    command = ["java", f"@{HERE}/modules.args", f"@{conf}/jvm.args", "-cp", f"{jars}/*",
               "org.apache.cassandra.service.CassandraDaemon"]
    name = "cassandra" if count == 1 else f"cassandra-{number}"
    return {"name": name, "command": command, "log": str(folder / "logs/out.log"), "host": address, "port": cql, "jmx": jmx}


def s3_server(jars, folder):
    """How the S3-compatible store is started: it checks every request's signature, as the vendors' do."""
    (folder / "data/pictures").mkdir(parents=True, exist_ok=True)
    port = free_port()
    (folder / "conf").write_text(f"""\
s3proxy.authorization=aws-v2-or-v4
s3proxy.endpoint=http://127.0.0.1:{port}
s3proxy.identity=key
s3proxy.credential=its-secret
jclouds.provider=filesystem-nio2
jclouds.identity=none
jclouds.credential=none
jclouds.filesystem.basedir={folder}/data
""")
    # A logger that its log is set up with says everything otherwise.
    (folder / "logback.xml").write_text("<configuration/>")
    command = ["java", "-Xmx128m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlogback.configurationFile={folder}/logback.xml",
               "-cp", f"{jars}/*", "org.gaul.s3proxy.Main", "--properties", str(folder / "conf")]
    return {"name": "s3", "command": command, "log": str(folder / "log"), "port": port}


def accepts_queries(port):
    """Whether Postgres, which listens before it is ready, is."""
    psql = shutil.which("psql") or str(install_postgres() / "psql")
    ask = [psql, "-qAt", f"postgres://app@127.0.0.1:{port}/postgres", "-c", "select 1"]
    return subprocess.run(ask, capture_output=True).returncode == 0


def start(server):
    """Starts a server and waits until it answers."""
    log, port = pathlib.Path(server["log"]), server["port"]
    with open(log, "wb") as out:
        process = subprocess.Popen(server["command"], stdout=out, stderr=out, start_new_session=True)
    ready = accepts_queries if server["name"] == "postgres" else answers
    wait(server["name"], lambda: ready(port), process, log)
    return process


def plan(folder, nodes):
    """Prepares a folder for servers that others start, and says how."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    nats, links = nats_cluster(install_wheels(), folder)
    postgres = postgres_server(install_postgres(), folder / "postgres")
    jars, ports = install_jars("cassandra", "cassandra-all"), (free_port(), free_port())
    folders = [folder / f"cassandra-{n + 1}" for n in range(nodes)]
    ring = [cassandra_server(jars, each, False, n + 1, nodes, ports) for n, each in enumerate(folders)]
    json.dump({"servers": [*nats, postgres, *ring], "links": links}, sys.stdout)


def main():
    command = sys.argv[1:]
    if command[:1] == ["--plan"]:
        plan(pathlib.Path(command[1]).resolve(), int(command[2]) if len(command) > 2 else 1)
        return 0
    stays = len(command) > 1 and command[0] == "--folder"
    if stays:
        folder, command = pathlib.Path(command[1]).resolve(), command[2:]
        folder.mkdir(parents=True, exist_ok=True)
    elif command:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="madang-test-"))
    if not command:
        sys.exit(__doc__)
    folder.chmod(0o755)
    started = []
    try:
        wheels, postgres, cassandra = install_wheels(), install_postgres(), install_jars("cassandra", "cassandra-all")
        environment = dict(os.environ)
        environment["PATH"] = os.pathsep.join([str(wheels), str(postgres), environment["PATH"]])
        for name, server, address in (
            ("CASSANDRA", cassandra_server(cassandra, folder / "cassandra", stays), "127.0.0.1:{}"),
            ("POSTGRES", postgres_server(postgres, folder / "postgres"), "postgres://app@127.0.0.1:{}/postgres"),
            ("NATS", nats_server(wheels, folder / "nats"), "nats://127.0.0.1:{}"),
            ("S3", s3_server(install_jars("s3proxy", "s3proxy"), folder / "s3"), "http://127.0.0.1:{}"),
        ):
            started.append(start(server))
            environment[f"MADANG_TEST_{name}"] = address.format(server["port"])
            if "jmx" in server:
                environment[f"MADANG_TEST_{name}_JMX"] = f"127.0.0.1:{server['jmx']}"
        environment["MADANG_TEST_POSTGRES_LOG"] = str(folder / "postgres" / "log")
        environment["MADANG_TEST_CHROMIUM"] = install_chromium()
        environment["MADANG_TEST_COLLECTOR"] = str(next((wheels.parent / "lib").glob("python*/site-packages/rotel/rotel-agent")))
        return subprocess.run(command, env=environment, check=False).returncode
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if not stays:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
