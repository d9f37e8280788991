"""The worker of a queue as pg_net has it: lines "contact<TAB>email" in, lines "contact<TAB>body" out. net_style.py URL PARALLEL"""
import http.client
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

url, parallel = urlsplit(sys.argv[1]), int(sys.argv[2])
own = threading.local()


def ask(line):
    contact, email = line.rstrip("\n").split("\t")
    if not hasattr(own, "connection"):
        own.connection = http.client.HTTPConnection(url.hostname, url.port)
    own.connection.request("GET", f"{url.path}?email={quote(email)}")
    return f"{contact}\t{own.connection.getresponse().read().decode().strip()}\n"


with ThreadPoolExecutor(parallel) as pool:
    sys.stdout.writelines(pool.map(ask, sys.stdin))
