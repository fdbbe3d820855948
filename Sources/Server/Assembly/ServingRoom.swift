import Catalog
import Core
import Features
import Logging
import Serving
import Workers

/// The parts that answer predictions, put together.
struct ServingRoom: Sendable {
  let engine: NativeEngine
  let reload: ModelReload
  let log: PredictionLog
  let mirror: ShadowMirror
  let predictor: Predictor
  let rollouts: RolloutWatch

  init(
    _ configuration: Configuration, workers: WorkerPool, hydrator: Hydrator,
    warehouse: any Warehouse, blobs: any BlobStore, catalog: CatalogStore, trust: ArtifactTrust,
    definitions: Published<Snapshot>, clock: any WallClock, _ logger: Logger
  ) {
    engine = configuration.nativeEngine(workers, logger)
    reload = ModelReload(
      snapshot: catalog.changes, blobs: blobs, workers: engine, trust: trust, log: logger)
    log = PredictionLog(
      warehouse: warehouse, room: configuration.predictionLog.room, log: logger)
    mirror = ShadowMirror(hydrator: hydrator, engine: engine, log: log)
    predictor = Predictor(
      served: reload, hydrator: hydrator, engine: engine, log: log, definitions: definitions,
      clock: clock, timeout: configuration.serving.predictTimeout, mirror: mirror)
    rollouts = RolloutWatch(
      snapshot: catalog.changes,
      ends: Platform.rolloutEnds(warehouse, blobs, catalog, log), log: logger)
  }
}
