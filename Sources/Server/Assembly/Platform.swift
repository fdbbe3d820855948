import Catalog
import Core
import DuckDBBackend
import EmbeddedBackend
import Features
import Foundation
import Jobs
import Logging
import Metrics
import Monitoring
import NIOPosix
import ServiceLifecycle
import Serving
import Workers

/// The composition root: builds the rooms, closes the ring, and lists the services in the order in which they start.
///
/// They stop in reverse: first the doors, then what answers behind them, the stores last.
package struct Platform: Sendable {
  let configuration: Configuration
  let services: PlatformServices
  private let log: Logger
  private let runner: Runner
  private let scheduler: Scheduler
  /// Nil where it is not enabled.
  private let database: DatabaseService?
  /// Nil where no workers of other machines are taken.
  private let workerDoor: WorkerDoor?

  /// Opens the stores of the data directory and brings the online state up to date.
  init(_ configuration: Configuration) async throws {
    let log = Logging.logger(configuration)
    self.configuration = configuration
    self.log = log
    let data = configuration.data.directory
    try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)

    let warehouse = try await configuration.warehouse.open(
      in: data, guests: configuration.databaseService.guests)
    let clock = try await Self.clock(configuration, warehouse)
    let (catalog, trust) = try configuration.openCatalog(in: data, clock, log)
    let jobs = try configuration.jobs.queue(in: data)
    let blobs = try configuration.blobs.open(in: data)

    let identity = try await warehouse.identity()
    let store = try configuration.online.open(
      configuration.redis, warehouse: identity, expires: configuration.clock.mode == .system, log)
    let online = OnlineState(
      definitions: catalog.changes, store: store, warehouse: warehouse, clock: clock,
      snapshotPath: data + "/online.snapshot", logger: log)
    try await EntityErasure.prepareRestore(warehouse, snapshotPath: data + "/online.snapshot")
    try await online.begin()
    if let warehouse = warehouse as? any FeatureTablePublishing {
      try await warehouse.publishFeatures(Array(online.visible.current.layouts.values))
    }
    let hydrator = Hydrator(snapshots: online.visible, store: store, clock: clock)
    let workers = WorkerPool(Self.workers(configuration), logger: log)
    workerDoor = try WorkerDoor(configuration.workers, workers, log)
    let ingestor = Ingestor(
      warehouse: warehouse, applier: online, definitions: online.visible, clock: clock,
      transform: WorkerTransform(pool: workers, definitions: online.visible),
      queueRows: configuration.ingest.commitQueueRows, log: log)
    let serving = ServingRoom(
      configuration, workers: workers, hydrator: hydrator, warehouse: warehouse, blobs: blobs,
      catalog: catalog, trust: trust, definitions: online.visible, clock: clock, log)

    let monitor = DriftMonitor(
      warehouse: warehouse, blobs: blobs, snapshot: catalog.changes,
      retraining: Self.retraining(jobs, clock), clock: clock, log: log)
    let compute = WorkerCompute(pool: workers, scratch: data + "/scratch")
    try compute.cleanUp()
    let datasets = Self.datasets(
      warehouse, ingestor, catalog, blobs, clock, spool: data + "/spool")
    let training = TrainingJob(
      steps: Self.trainingSteps(datasets, serving.predictor, serving.engine), compute: compute,
      blobs: blobs,
      registry: catalog, snapshot: online.visible, clock: clock,
      timeout: configuration.workers.taskTimeout)
    let openLineage = OpenLineageLog(
      folder: data + "/openlineage", post: OpenLineageLog.post(configuration.lineage), log: log)
    runner = configuration.jobs.runner(
      jobs, training, backfill: BackfillSteps(online, ingestor, warehouse, workers),
      announce: Self.announcement(openLineage, catalog), log)
    database = try configuration.databaseService.open(warehouse, configuration.redis, log)
    scheduler = Scheduler(queue: jobs, snapshot: catalog.changes, clock: clock, log: log)
    let kafka = try configuration.kafka.ends(ingestor, online, store, warehouse: identity, log)
    services = PlatformServices(
      configuration: configuration, catalog: catalog, blobs: blobs, warehouse: warehouse,
      online: online, ingestor: ingestor,
      files: FileIngest(reader: DuckDBFileReader(), ingestor: ingestor),
      tables: DuckDBTableFiles(), hydrator: hydrator, predictor: serving.predictor,
      served: serving.reload, mirror: serving.mirror, rollouts: serving.rollouts,
      log: serving.log, monitor: monitor, jobs: jobs, datasets: datasets, workers: workers,
      trust: trust,
      spool: try Spool(folder: data + "/spool"),
      metrics: PlatformMetrics.shared, clock: clock, openLineage: openLineage,
      stream: kafka?.stream, pushProducer: kafka?.pushProducer, kafkaWatch: kafka?.watch,
      onlineWatch: OnlineStoreWatch(online, log))
  }

  /// Everything that runs, in the order of starting.
  func serviceList(_ ports: ListeningPorts) -> [any Service] {
    let roles = configuration.roles
    var list: [any Service] = [
      StoreService(services, log),
      Loop("catalog") { [services] in await services.catalog.run() },
      Loop("definitions") { [services] in await services.online.run() },
      Loop("serving rules") { [services] in await services.followServingRules() },
      Loop("model metadata") { [services, log] in
        await ModelMetadata(services.catalog, services.warehouse, log).run()
      },
      services.workers,
      services.log,
      services.openLineage,
      IngestService(services.ingestor),
      Loop("watching the online store") { [services] in
        await services.onlineWatch.run { try await services.erasure.resume() }
      },
      Loop("other processes") { [services] in
        await services.erasure.takePart(as: services.placeName)
      },
      Loop("kafka") { [services] in await services.stream?.run() },
      Loop("watching Kafka") { [services] in await services.kafkaWatch?.run() },
      Loop("pushes to Kafka") { [services] in await services.pushProducer?.run() },
      Loop("upkeep") { [services, configuration, log] in
        await Self.keepUp(services, every: configuration.retention.interval, log)
      },
      Loop("online snapshots") { [services, configuration, log] in
        await OnlineSnapshotService(
          state: services.online, interval: configuration.online.snapshotInterval,
          events: configuration.online.snapshotEvents, logger: log
        ).run()
      },
    ]
    if let workerDoor { list.append(workerDoor) }
    if let database { list.append(database) }
    if roles.contains(.serving) { list += [services.served, services.mirror] }
    if roles.contains(.orchestrator) {
      list.append(
        JobService(
          queue: services.jobs, runner: runner, scheduler: scheduler,
          announce: Self.announcement(services.openLineage, services.catalog), log: log))
    }
    if roles.contains(.orchestrator) {
      list.append(
        Ticker(every: configuration.serving.rolloutInterval) { [services] in
          await services.rollouts.tick()
        })
    }
    if roles.contains(.monitoring) {
      list.append(
        Ticker(every: configuration.monitoring.interval) { [services] in
          await services.monitor.tick()
        })
    }
    list.append(GRPCDoor(services, ports))
    list.append(HTTPDoor(services, ports, log))
    return list
  }

  // MARK: Parts

  /// Job → OpenLineage.
  private static func announcement(
    _ openLineage: OpenLineageLog, _ catalog: CatalogStore
  ) -> @Sendable (JobRun, JobAttemptNews) -> Void {
    { run, news in
      openLineage.record(
        OpenLineageEvents(catalog.changes.current).training(run, news, at: SystemClock().now))
    }
  }

  /// Once at the start, for what a crash left unfinished, and then again and again.
  private static func keepUp(
    _ services: PlatformServices, every interval: Span, _ log: Logger
  ) async {
    while !Task.isCancelled {
      do {
        try await services.upkeep()
      } catch {
        if !Task.isCancelled { log.error("upkeep failed; it is tried again: \(error)") }
      }
      try? await Task.sleep(for: interval.duration)
    }
  }

  private static func clock(
    _ configuration: Configuration, _ warehouse: any Warehouse
  ) async throws -> any WallClock {
    guard configuration.clock.mode == .simulated else { return SystemClock() }
    var start = configuration.clock.start ?? SystemClock().now
    // A simulated clock goes on where the events end: it never runs back behind what was stored.
    if let last = try await warehouse.lastStamp() { start = max(start, last) }
    return SimulatedClock(start: start)
  }

  private static func workers(_ configuration: Configuration) -> WorkerConfiguration {
    let workers = configuration.workers
    var room = WorkerConfiguration(
      python: workers.python, pythonPath: PythonRuntime.path,
      directory: configuration.data.directory,
      maxPythonWorkers: workers.maxPythonWorkers, heartbeatInterval: workers.heartbeat,
      heartbeatTimeout: workers.heartbeatTimeout, helloTimeout: workers.startTimeout,
      idleTimeout: workers.idleTimeout, memoryShare: workers.memoryLimitShare)
    room.libraryVersions = workers.libraryVersions
    return room
  }

  /// Log → evidence, and verdict → registry.
  static func rolloutEnds(
    _ warehouse: any Warehouse, _ blobs: any BlobStore, _ catalog: CatalogStore,
    _ log: PredictionLog
  ) -> RolloutWatch.Ends {
    let reader = RolloutEvidenceReader(warehouse: warehouse, blobs: blobs)
    return RolloutWatch.Ends(
      read: { model, canary, production in
        try await log.flush()
        return try await reader.read(model, canary, production)
      },
      settle: { verdict, model, version, evidence in
        try await catalog.decide(
          verdict.outcome == .promote ? .promoted : .rolledBack, model: model, version: version,
          who: "rollout", why: verdict.why, evidence: evidence)
      })
  }

  /// Drift → job: where the ring closes.
  private static func retraining(
    _ jobs: JobQueue, _ clock: any WallClock
  ) -> DriftMonitor.Retraining {
    DriftMonitor.Retraining(
      file: { trigger in
        _ = try await jobs.file(
          NewJob(
            model: trigger.model, reason: trigger.reason,
            parameters: TrainingParameters(asOf: clock.now, promote: true)))
      }, isInFlight: { try await jobs.isInFlight(model: $0) },
      lastTriggered: { try await jobs.lastFiled(model: $0, reasonPrefix: "drift:") })
  }

  /// Events → training set, and training set → baseline: what training takes from features, monitoring and serving.
  private static func trainingSteps(
    _ datasets: DatasetStore, _ predictor: Predictor, _ native: NativeEngine
  ) -> TrainingSteps {
    TrainingSteps(
      buildSet: { model, asOf, snapshot in
        try await datasets.save(model, name: model.name, asOf: asOf, snapshot: snapshot)
          .set.trainingData
      },
      baseline: { model, features, predictions in
        try Baseline(model: model, features: features, predictions: predictions).encoded()
      },
      scoreProduction: { model, rows in try await predictor.score(model: model, rows: rows) },
      compareNative: { path, rows, expected in
        try await native.compare(fileAt: path, rows: rows, expected: expected)
      })
  }
}
