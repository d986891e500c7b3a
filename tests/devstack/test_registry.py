from tests.support import skopeo
