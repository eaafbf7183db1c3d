"""SIGHUP under uWSGI (`images.reloading`): its master has one of the processes run `tell`.

deploy/uwsgi.ini loads this module before the processes are forked: only what is registered then is known to
all of them.
"""

import uwsgi

from images import reloading

uwsgi.register_signal(1, "worker", reloading.tell)
