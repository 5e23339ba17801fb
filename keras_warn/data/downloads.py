"""Whether what is to be downloaded is there, asked before it is tried.

TensorFlow Datasets would retry for minutes.
"""

import threading
import urllib.error
import urllib.parse
import urllib.request

# Each in seconds: for an answer, and for looking up the address besides,
# which has no limit of its own.
TIMEOUT = 5
LIMIT = 10


def check_connection(url, what, advice) -> None:
    """Asks once whether a file can be downloaded.

    Args:
        url: Its address.
        what: What is to be downloaded, for the message.
        advice: A sentence: what to do without.

    Raises:
        ConnectionError: if it cannot, within seconds.
    """
    errors = []

    def ask():
        try:
            _ask(url)
        except Exception as error:
            errors.append(error)

    # A thread that may be left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(LIMIT)
    if thread.is_alive():
        errors.append(TimeoutError(f"no answer in {LIMIT} s"))
    if not errors:
        return
    error = errors[0]
    host = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(url))
    why = f"{host} cannot be reached to download it ({error})"
    if isinstance(error, urllib.error.HTTPError):
        why = f"{url} is not there to be downloaded ({error})"
    raise ConnectionError(
        f"{what} was not found on this machine and {why}. {advice}"
    ) from error


def _ask(url):
    """Asks for what stands before a file, and not for the file."""
    try:
        _open(url, "HEAD")
    except urllib.error.HTTPError:
        # Some servers, and addresses that are signed, allow GET alone.
        _open(url, "GET")


def _open(url, method):
    request = urllib.request.Request(url, method=method)
    urllib.request.urlopen(request, timeout=TIMEOUT).close()
