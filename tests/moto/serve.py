# A moto server on a loopback port of the kernel's choice. It prints `listening on PORT` and ends when its standard
# input does, so that it cannot outlive the test that started it.

import sys

from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(f"listening on {server.get_host_and_port()[1]}", flush=True)
sys.stdin.read()
