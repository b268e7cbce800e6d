# SPDX-License-Identifier: Apache-2.0
"""`kith serve` as an operator meets it: where it listens and where not, keys, TLS, signals, what systemd hands over, and
the errors of a wrong start. Standard library only."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from serving import PATIENCE_S, Server
from test_cli import ABSENT, INPUT, KITH, ROOT, STORAGE, USAGE, good, refused


def error_of(body):
    return json.loads(body)["error"]["message"]


@pytest.fixture
def folder(tmp_path):
    """Two collections."""
    good("create", "shop", "--dim", 3, cwd=tmp_path)
    good("create", "tea", "--dim", 2, cwd=tmp_path)
    return tmp_path


def make_certificate(place):
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("openssl is not there to make a certificate")
    subprocess.run([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=kith", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", place / "key.pem", "-out", place / "cert.pem"], check=True, capture_output=True)
    return place


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for this machine and its key; they sign themselves."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


# ---- Starting ----------------------------------------------------------------------------------------------------------


def test_says_what_it_serves_and_ends_in_order(folder):
    with Server(folder) as server:
        assert server.line == f"kith serves 2 collections at http://127.0.0.1:{server.port}/ (page /ui)\n"
        status, headers, _ = server.ask("GET", "/healthz")
        assert status == 200 and headers["Server"] == "kith"
        assert server.ask("GET", "/readyz")[0] == 200
        assert json.loads(server.ask("GET", "/v1")[2])["name"] == "kith"
        assert server.stop() == 0
        assert "SIGTERM" in server.log()
    with Server(folder / "shop") as server:
        assert server.line.startswith("kith serves 1 collection at ")
        assert server.stop(signal.SIGINT) == 0


def test_serves_an_empty_folder_that_it_makes(tmp_path):
    assert "new" in refused(ABSENT, "serve", tmp_path / "new", "--port", 0)
    with Server(tmp_path / "new", "--create") as server:
        assert server.line.startswith("kith serves 0 collections at ")
        assert server.stop() == 0
    assert (tmp_path / "new").is_dir()


def test_a_wrong_start_says_what_is_wrong(folder):
    (folder / "file").write_text("no folder")
    refused(ABSENT, "serve", folder / "nothing", "--port", 0)
    assert "file" in refused(ABSENT, "serve", folder / "file", "--port", 0)
    assert "no address" in refused(USAGE, "serve", folder, "--address", "example.org", "--port", 0)
    assert "--recall-share" in refused(USAGE, "serve", folder, "--recall-share", 2)
    assert "--tls-key" in refused(USAGE, "serve", folder, "--tls-cert", "cert.pem")
    assert "cannot be read" in refused(STORAGE, "serve", folder, "--tls-cert", folder / "no.pem", "--tls-key", folder / "no.key")
    assert "keys" in refused(ABSENT, "serve", folder, "--keys", folder / "no.json")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} at 127.0.0.1 is taken" in refused(STORAGE, "serve", folder, "--port", port)


def test_a_collection_has_one_writer(folder):
    with Server(folder / "shop") as server:
        text = refused(STORAGE, "serve", folder / "shop", "--port", 0)
        assert str(server.process.pid) in text
        with Server(folder / "shop", "--read-only") as reader:
            assert reader.ask("GET", "/healthz")[0] == 200
        # Of several collections, those that can be are served, and the log says which cannot.
        with Server(folder) as other:
            assert other.line.startswith("kith serves 1 collection at ")
            assert "shop" in other.log() and str(server.process.pid) in other.log()


def test_a_public_address_takes_keys_and_tls(folder, certificate):
    good("key", "ops", "--role", "admin", "--keys", folder / "keys.json")
    tls = ["--tls-cert", certificate / "cert.pem", "--tls-key", certificate / "key.pem"]
    keys = ["--keys", folder / "keys.json"]
    for address in ("0.0.0.0", "::"):
        here = ["serve", folder, "--port", 0, "--address", address]
        assert "--keys FILE (kith key makes keys) and --tls-cert" in refused(USAGE, *here)
        text = refused(USAGE, *here, *keys)
        assert "give --tls-cert" in text and "--insecure" in text
        assert "give --keys" in refused(USAGE, *here, *tls)
    with Server(folder, "--address", "0.0.0.0", "--insecure") as server:
        assert server.ask("GET", "/healthz")[0] == 200
    with Server(folder, "--address", "0.0.0.0", *keys, *tls) as server:
        assert server.ask("GET", "/healthz", cafile=certificate / "cert.pem")[0] == 200


def privileges(server):
    lines = open(f"/proc/{server.process.pid}/status").read().splitlines()
    return {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("NoNewPrivs", "Seccomp:"))}


def test_the_process_is_confined_and_does_all_the_same(folder):
    with Server(folder) as server:
        if "less confined" in server.log():
            pytest.skip(server.log())
        assert privileges(server) == {"NoNewPrivs": "1", "Seccomp": "2"}
        points = [{"id": i, "vector": [i, 1, 2]} for i in range(1, 200)]
        assert server.ask("PUT", "/v1/collections/new", {"vectors": [{"name": "", "dim": 3}]})[0] == 201
        for collection in ("new", "shop"):
            assert server.ask("POST", f"/v1/collections/{collection}/points", {"points": points})[0] == 200
            assert server.ask("POST", f"/v1/collections/{collection}/snapshots", {})[0] in (200, 201, 202)
            assert server.ask("POST", f"/v1/collections/{collection}/compact", {})[0] in (200, 202)
            answer = server.ask("POST", f"/v1/collections/{collection}/query", {"vector": [7, 1, 2], "k": 1})
            assert json.loads(answer[2])["results"][0][0]["id"] == 7
        assert server.ask("DELETE", "/v1/collections/new")[0] in (200, 204)
        assert server.stop() == 0
        assert "error" not in server.log()
    with Server(folder, "--unconfined") as server:
        assert privileges(server)["Seccomp"] == "0"


# ---- Pages of others -------------------------------------------------------------------------------------------------


def test_pages_of_others_may_not_ask(folder):
    with Server(folder) as server:
        ours = f"127.0.0.1:{server.port}"
        for origin, host, status in ((f"http://{ours}", ours, 200), (None, "localhost", 200), (None, "[::1]:80", 200),
                                     (f"http://localhost:{server.port}", f"LOCALHOST:{server.port}", 200),
                                     ("http://evil.example", ours, 403), ("null", ours, 403),
                                     ("http://evil.example", "evil.example", 403), (None, "evil.example", 403),
                                     (None, "127.0.0.1.evil.example", 403), (None, "localhost.evil.example:80", 403)):
            headers = {"Host": host, **({"Origin": origin} if origin else {})}
            asked = server.ask("GET", "/v1/collections", headers=headers)
            assert asked[0] == status, (origin, host, asked)
            assert status == 200 or b"evil" not in asked[2]
    make_key(folder, "web", "--role", "read")
    secret = make_key(folder, "other", "--role", "read")
    with Server(folder, "--keys", folder / "keys.json") as server:
        assert server.ask("GET", "/v1/collections", key=secret, headers={"Host": "shop.example"})[0] == 200
        assert server.ask("GET", "/v1/collections", key=secret, headers={"Host": "shop.example",
                                                                        "Origin": "https://evil.example"})[0] == 403


def test_people_are_led_to_the_page(folder):
    with Server(folder) as server:
        status, headers, _ = server.ask("GET", "/", headers={"Accept": "text/html,*/*"})
        assert status == 302 and headers["Location"] == "ui/" and headers["X-Content-Type-Options"] == "nosniff"
        assert server.ask("GET", "/")[0] == 200


# ---- Keys --------------------------------------------------------------------------------------------------------------


def make_key(folder, name, *arguments):
    return good("key", name, *arguments, "--keys", folder / "keys.json").stdout.strip()


def test_keys_open_what_their_roles_say(folder):
    reader, ops = make_key(folder, "web", "--role", "read"), make_key(folder, "ops", "--role", "admin")
    with Server(folder, "--keys", folder / "keys.json") as server:
        assert server.ask("GET", "/healthz")[0] == 200
        status, headers, body = server.ask("GET", "/v1")
        assert status == 401 and headers["WWW-Authenticate"] == "Bearer" and "Authorization" in error_of(body)
        status, _, body = server.ask("GET", "/v1", key=reader + "x")
        assert status == 401 and "none of this server" in error_of(body)
        assert server.ask("GET", "/v1", key=reader)[0] == 200
        assert server.ask("GET", "/v1", headers={"api-key": reader})[0] == 200
        assert server.ask("GET", "/v1", headers={"X-API-Key": reader})[0] == 200
        vectors = {"vectors": [{"name": "", "dim": 3}]}
        status, _, body = server.ask("PUT", "/v1/collections/new", vectors, key=reader)
        assert status == 403 and "read" in error_of(body)
        assert server.ask("PUT", "/v1/collections/new", vectors, key=ops)[0] == 201
        assert server.stop() == 0
        assert reader not in server.log() and ops not in server.log()


def test_keys_are_read_again_on_sighup(folder):
    first = make_key(folder, "first", "--role", "read")
    with Server(folder, "--keys", folder / "keys.json") as server:
        second = make_key(folder, "second", "--role", "read")
        assert server.ask("GET", "/v1", key=second)[0] == 401
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("2 keys were read anew")
        assert server.ask("GET", "/v1", key=second)[0] == 200
        assert server.ask("GET", "/v1", key=first)[0] == 200
        # What cannot be read changes nothing.
        (folder / "keys.json").write_text("{}")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("The keys stay as they were")
        assert server.ask("GET", "/v1", key=first)[0] == 200


def test_key_prints_its_line_or_puts_it_into_the_file(folder):
    secret, line = good("key", "a", "--role", "write", "--segment", "t7", "--collection", "shop").stdout.splitlines()
    made = json.loads(line)
    assert secret.startswith("kith_") and secret not in line
    assert {**made, "sha256": None} == {"name": "a", "sha256": None, "role": "write", "segment": "t7", "collections": ["shop"]}
    (folder / "keys.json").write_text(json.dumps({"keys": [made]}))
    assert "chmod" in refused(INPUT, "key", "b", "--role", "read", "--keys", folder / "keys.json")
    os.chmod(folder / "keys.json", 0o640)
    good("key", "b", "--role", "read", "--keys", folder / "keys.json")
    assert [key["name"] for key in json.loads((folder / "keys.json").read_text())["keys"]] == ["a", "b"]
    assert os.stat(folder / "keys.json").st_mode & 0o777 == 0o640
    assert "--role" in refused(USAGE, "key", "c")
    assert "have the same" in refused(INPUT, "key", "b", "--role", "read", "--keys", folder / "keys.json")


# ---- TLS ---------------------------------------------------------------------------------------------------------------


def test_tls(folder, certificate):
    tls = ["--tls-cert", certificate / "cert.pem", "--tls-key", certificate / "key.pem"]
    with Server(folder, *tls) as server:
        assert server.line.endswith(f"at https://127.0.0.1:{server.port}/ (page /ui)\n")
        assert server.ask("GET", "/healthz", cafile=certificate / "cert.pem")[0] == 200
        # A client that does not know it, one that speaks no TLS, one that only speaks an old one.
        with pytest.raises(ssl.SSLError):
            server.ask("GET", "/healthz")
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"HTTP/1.1 200" not in plain.recv(4096)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with pytest.warns(DeprecationWarning):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as raw:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                old.wrap_socket(raw)
        assert server.ask("GET", "/healthz", cafile=certificate / "cert.pem")[0] == 200
        assert server.stop() == 0


def test_a_certificate_is_renewed_on_sighup(folder, certificate):
    for name in ("cert.pem", "key.pem"):
        shutil.copy(certificate / name, folder / name)
    with Server(folder, "--tls-cert", folder / "cert.pem", "--tls-key", folder / "key.pem") as server:
        kept = server.connect(certificate / "cert.pem")
        kept.request("GET", "/healthz")
        assert kept.getresponse().read() == b"alive\n"
        make_certificate(folder)
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("The certificate was read anew")
        assert server.ask("GET", "/healthz", cafile=folder / "cert.pem")[0] == 200
        with pytest.raises(ssl.SSLError):
            server.ask("GET", "/healthz", cafile=certificate / "cert.pem")
        kept.request("GET", "/healthz")  # the connection that is there goes on
        assert kept.getresponse().status == 200
        kept.close()
        os.rename(folder / "cert.pem", folder / "good.pem")
        (folder / "cert.pem").write_text("no certificate")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("The certificate stays as it was")
        assert server.ask("GET", "/healthz", cafile=folder / "good.pem")[0] == 200


def test_tls_files_are_checked_before_the_start(folder, certificate):
    tls = ["serve", folder, "--tls-cert", folder / "cert.pem", "--tls-key", folder / "key.pem"]
    shutil.copy(certificate / "key.pem", folder / "key.pem")
    for text in ("", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        (folder / "cert.pem").write_text(text)
        assert "cert.pem is no certificate in PEM form" in refused(INPUT, *tls)
    shutil.copy(certificate / "cert.pem", folder / "cert.pem")
    (folder / "key.pem").write_text((certificate / "cert.pem").read_text())
    assert "key.pem is not the private key" in refused(INPUT, *tls)
    (folder / "other").mkdir()
    shutil.copy(make_certificate(folder / "other") / "key.pem", folder / "key.pem")
    assert "key.pem is not the private key" in refused(INPUT, *tls)


# ---- Ending ------------------------------------------------------------------------------------------------------------


def test_what_has_begun_is_answered(folder):
    with Server(folder) as server:
        idle = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
        begun = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
        begun.sendall(b"POST /v1/nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        # The server has read it once a connection that came after it was answered.
        assert server.ask("GET", "/healthz")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        assert idle.recv(100) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
        begun.sendall(b"def")
        answer = b""
        while more := begun.recv(4096):
            answer += more
        assert answer.startswith(b"HTTP/1.1 404 ") and b"\r\nConnection: close\r\n" in answer
        assert server.wait() == 0


def test_the_second_signal_ends_at_once(folder):
    with Server(folder) as server:
        begun = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
        begun.sendall(b"POST /v1/nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        assert server.ask("GET", "/healthz")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("SIGTERM")
        while server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
        assert server.wait() == -signal.SIGTERM
        begun.close()


def test_calls_that_take_too_long_are_left(folder):
    with Server(folder, "--drain", "50ms") as server:
        begun = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
        begun.sendall(b"POST /v1/nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        assert server.ask("GET", "/healthz")[0] == 200
        assert server.stop() == 0
        assert "not answered within 50 ms" in server.log()
        begun.close()


def write_until_it_ends(server, worker, acknowledged):
    """Points of one connection after the other, each remembered when the server has said that it is there."""
    connection = server.connect()
    for number in range(worker, 10**9, 8):
        body = json.dumps({"points": [{"id": number + 1, "vector": [number % 97, worker, 1]}]})
        try:
            connection.request("POST", "/v1/collections/shop/points", body)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return
        assert answer.status == 200
        acknowledged.append(number + 1)


def test_a_killed_server_has_lost_nothing_that_it_acknowledged(folder):
    acknowledged = []
    for _ in range(2):
        with Server(folder / "shop") as server:
            before = len(acknowledged)
            writers = [threading.Thread(target=write_until_it_ends, args=(server, worker, acknowledged)) for worker in range(8)]
            for writer in writers:
                writer.start()
            while len(acknowledged) < before + 200:
                assert server.process.poll() is None
                time.sleep(0.001)
            assert server.stop(signal.SIGKILL) == -signal.SIGKILL
            for writer in writers:
                writer.join()
        with Server(folder / "shop") as server:
            status, _, body = server.ask("POST", "/v1/collections/shop/points/exists", {"ids": acknowledged})
            assert status == 200 and all(json.loads(body)["exists"])
            assert server.stop() == 0
    good("verify", folder / "shop")


# ---- systemd -----------------------------------------------------------------------------------------------------------


def test_tells_the_service_manager(folder, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_S)
        with Server(folder, env={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as server:
            assert manager.recv(100) == b"READY=1"
            assert server.stop() == 0
            assert manager.recv(100) == b"STOPPING=1"


def test_takes_a_socket_that_listens(folder):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        # The process that becomes the server has number 3 and its own number in the environment.
        script = f'exec 3<&{listening.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" serve "$1"'
        process = subprocess.Popen(["bash", "-c", script, str(KITH), str(folder)], stdout=subprocess.PIPE, text=True,
                                   pass_fds=[listening.fileno()])
        try:
            assert f":{port}/" in process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


# ---- The README --------------------------------------------------------------------------------------------------------


def test_the_readme_does_what_it_says(tmp_path):
    """Its collection, and what it asks of the server, at a port that is free."""
    readme = (ROOT / "README.md").read_text()
    made = re.search(r"^kith create shop .*?^END\n.*?\n", readme, flags=re.M | re.S)[0]
    asked = re.search(r"^## A server\n.*?^```sh\n(.*?)^```$", readme, flags=re.M | re.S)[1].splitlines()
    assert asked[0] == "kith serve shop &"
    environment = {**os.environ, "PATH": f"{os.path.dirname(KITH)}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-eu", "-c", made], cwd=tmp_path, env=environment, check=True, capture_output=True)
    with Server(tmp_path / "shop") as server:
        answers = [subprocess.run(["sh", "-eu", "-c", line.replace("127.0.0.1:6333", f"127.0.0.1:{server.port}")],
                                  cwd=tmp_path, check=True, capture_output=True, text=True).stdout for line in asked[1:]]
        assert [hit["id"] for hit in json.loads(answers[0])["results"][0]] == [1, 3]
        assert "kith_requests_total" in answers[1]


# ---- What runs it ------------------------------------------------------------------------------------------------------


def test_units_and_container_say_what_the_command_knows(tmp_path):
    known = set(re.findall(r"--[a-z-]+", good("serve", "--help").stdout))
    unit, container = ((ROOT / "deploy" / name).read_text() for name in ("kith.service", "Containerfile"))
    said = re.findall(r"--[a-z-]+", "".join(re.findall(r"^(?:#\s+KITH_OPTIONS=|ExecStart=|ENTRYPOINT ).*", unit + container, re.M)))
    assert len(said) >= 5 and set(said) <= known
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        pytest.skip("systemd-analyze is not there to read the units")
    for name in ("kith.service", "kith.socket"):
        text = (ROOT / "deploy" / name).read_text().replace("/usr/local/bin/kith", str(KITH)).replace("man:kith(1)", "https://kith")
        (tmp_path / name).write_text(text)
    done = subprocess.run([analyze, "verify", tmp_path / "kith.service", tmp_path / "kith.socket"], capture_output=True, text=True)
    assert "kith." not in done.stderr, done.stderr
