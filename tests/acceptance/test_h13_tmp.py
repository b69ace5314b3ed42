from tests.acceptance.test_browser import *
from tests.acceptance.test_browser import test_the_recording_url_plays_with_hls_js as t0
del test_the_recording_url_plays_with_hls_js
@pytest.mark.parametrize("i", range(6))
@pytest.mark.parametrize("name", ["discontinuity", "wrap"])
def test_p(name, i, finalized, viewer, hls_js):
    t0(name, finalized, viewer, hls_js)
