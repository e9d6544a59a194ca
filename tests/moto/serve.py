# A moto server on a loopback port of the kernel's choice. It prints `listening on PORT` and ends when its standard
# input does, so that it cannot outlive the test that started it.

import sys
import threading

from moto.dynamodb.responses import DynamoHandler
from moto.server import ThreadedMotoServer

# DynamoDB's transactions are isolated from one another; moto's, which keep a copy of the table to go back to, only are
# if one request is carried out at a time.
one_at_a_time = threading.Lock()
call_action = DynamoHandler.call_action


def call_action_alone(self):
    with one_at_a_time:
        return call_action(self)


DynamoHandler.call_action = call_action_alone

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(f"listening on {server.get_host_and_port()[1]}", flush=True)
sys.stdin.read()
