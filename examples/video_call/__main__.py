"""
Serve the video call.
"""

import argparse
import ssl

from aiohttp import web

from aiortc_restart import RTCConfiguration, RTCIceServer

from .hosts import Hosts
from .server import Server


def main() -> None:
    parser = argparse.ArgumentParser("examples.video_call", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="a name by which others reach the server, besides its addresses",
    )
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument(
        "--ice-server", action="append", default=[], help="such as stun:host:3478"
    )
    parser.add_argument(
        "--certificate",
        help="PEM file with key and certificate: browsers give a camera to other "
        "machines' pages over HTTPS only",
    )
    args = parser.parse_args()
    context = None
    if args.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(args.certificate)
    configuration = RTCConfiguration(
        iceServers=[RTCIceServer(x) for x in args.ice_server],
        iceDisconnectedTimeout=2.0,
        iceTrickle=True,
    )
    scheme = "https" if context else "http"
    print(f"Open {scheme}://{args.host}:{args.port}/ in two browsers, or tabs.")
    web.run_app(
        Server(configuration, Hosts(args.host, args.allow_host)).application(),
        host=args.host,
        port=args.port,
        print=lambda _: None,
        ssl_context=context,
    )


if __name__ == "__main__":
    main()
