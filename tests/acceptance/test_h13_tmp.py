from tests.acceptance.test_browser import *
from tests.acceptance.test_browser import test_the_recording_url_plays_with_hls_js as t0
del test_the_recording_url_plays_with_hls_js
@pytest.mark.parametrize("i", range(8))
def test_p(i, finalized, viewer, hls_js):
    t0("discontinuity", finalized, viewer, hls_js)
@pytest.mark.parametrize("i", range(4))
def test_q(i, finalized, viewer, hls_js):
    s, r = finalized("discontinuity")
    url = s["recordingUrl"].replace("/vod/", "/recordings/")
    viewer.open_playlist(url, hls_js)
    for time in (4.8, 0.2, 2.4):
        viewer.seek(time, 0.1)
        viewer.play(0.3)
    viewer.play_to_the_end()
