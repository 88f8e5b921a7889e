from ttt3r_ros.config import Config as Config
from ttt3r_ros.io.sources import SourceOptions as SourceOptions
from ttt3r_ros.io.sources import open_source as open_source
from ttt3r_ros.model.runtime.loading import load_backend as load_backend
from ttt3r_ros.offline.batch.local import map_recordings as map_recordings
from ttt3r_ros.offline.result import RunResult as RunResult
from ttt3r_ros.offline.run import map_recording as map_recording
from ttt3r_ros.pipeline.reconstructor import Reconstructor as Reconstructor

__version__: str
