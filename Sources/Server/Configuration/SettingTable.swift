extension Setting {
  /// Every setting there is, in the order of the reference page.
  package static let all: [Setting] =
    platformSettings + workerSettings + storeSettings + distributedSettings + pathSettings
    + databaseSettings + operationSettings

  private static let platformSettings: [Setting] = [
    .text("project", \.project, "The folder of martlet.yaml, from the working directory."),
    .words(
      "roles", \.roles,
      "What this process does besides taking events in and reading features out: serving answers predictions, "
        + "monitoring computes drift by the clock, orchestrator runs jobs."),
    .text(
      "data.directory", \.data.directory,
      "The folder of warehouse, catalog, jobs, snapshots and artifacts, from the working directory; made when it is not there."
    ),
    .text(
      "server.host", \.server.host,
      "The address that is listened on; 0.0.0.0 for all, which other machines then reach."),
    .integer(
      "server.http_port", \.server.httpPort, 0...65_535, "The REST port; 0 takes a free one."),
    .integer(
      "server.grpc_port", \.server.grpcPort, 0...65_535, "The gRPC port; 0 takes a free one."),
    .span(
      "server.shutdown_grace", \.server.shutdownGrace,
      "How long requests and jobs may take to end after a SIGTERM."),
    .secret(
      "server.token", \.server.token,
      "What callers must send as bearer token; without one every caller is served."),
    .flag(
      "server.echo", \.server.echo,
      "Serves POST /api/v1/echo, which sends the body back: the limit that benchmarks compare with."
    ),
  ]

  private static let workerSettings: [Setting] = [
    .text(
      "workers.python", \.workers.python,
      "The Python that runs transforms, training and models. Without it: the one of VIRTUAL_ENV, "
        + "then .venv/bin/python of the project or the working directory, then python3."),
    .integer(
      "workers.max_python_workers", \.workers.maxPythonWorkers, 2...1_024,
      "Python processes of all kinds together, at least one that serves and one for transforms and training.",
      because: "one serves and another trains, so that a training never holds predictions up"),
    .share(
      "workers.memory_limit_share", \.workers.memoryLimitShare,
      "Used share of the machine's memory above which no worker is started and the largest idle one is recycled."
    ),
    .span("workers.heartbeat", \.workers.heartbeat, "How often a worker says that it is alive."),
    .span(
      "workers.heartbeat_timeout", \.workers.heartbeatTimeout,
      "A worker that was silent for so long is replaced."),
    .span(
      "workers.start_timeout", \.workers.startTimeout,
      "How long a worker may take to start and warm up."),
    .span(
      "workers.task_timeout", \.workers.taskTimeout,
      "How long a transform or a training may take in a worker."),
    .span(
      "workers.idle_timeout", \.workers.idleTimeout, "A worker without work for so long is ended."),
    .word(
      "workers.library_versions", \.workers.libraryVersions,
      "How far libraries and Python may differ from those that a model was trained with: exact not at all, "
        + "minor in what comes after the second number, off as they like."),
    .secret(
      "workers.artifact_key", \.workers.artifactKey,
      "What the registry's records of model versions are signed with, at least 32 characters; with it only versions "
        + "with a valid signature are opened."),
    .optionalText(
      "workers.remote_address", \.workers.remoteAddress,
      "host:port where workers of other machines dial in, over TLS; port 0 takes a free one."),
    .optionalText(
      "workers.remote_certificate_file", \.workers.remoteCertificateFile,
      "PEM file of the certificate that they are shown."),
    .optionalText(
      "workers.remote_key_file", \.workers.remoteKeyFile, "PEM file of its private key."),
    .secret(
      "workers.remote_token", \.workers.remoteToken, "What workers of other machines must send."),
  ]

  private static let distributedSettings: [Setting] = [
    .word(
      "redis.mode", \.redis.mode,
      "What the addresses are: a server, its Sentinels, or nodes of a Cluster."),
    .text("redis.addresses", \.redis.addresses, "host:port, several with commas between."),
    .optionalText("redis.master", \.redis.master, "The master that the Sentinels watch."),
    .text("redis.prefix", \.redis.prefix, "The first part of every key, one for each project."),
    .integer(
      "redis.database", \.redis.database, 0...1_000_000,
      "The number of the database; a Cluster has 0 only."),
    .optionalText("redis.username", \.redis.username, "Who signs in; without it the default user."),
    .secret("redis.password", \.redis.password, "The password to sign in with."),
    .flag("redis.tls", \.redis.tls, "Whether connections are encrypted."),
    .optionalText(
      "redis.authority_file", \.redis.authorityFile,
      "PEM file of whom to trust; without it whom the system trusts."),
    .integer(
      "redis.known_ids", \.redis.knownIDs, 0...100_000_000,
      "Ids of Kafka records that the processes know together, the newest of each source; an id that comes again after so many others counts once more. At most twice as many are kept, of about 60 bytes each. 0 is none."
    ),
    .span(
      "redis.write_wait", \.redis.writeWait,
      "How long a write waits for a server that is away before producers are told."),
    .optionalText(
      "kafka.brokers", \.kafka.brokers,
      "Brokers as host:port with commas between; sources that name a topic are read from it."),
    .text("kafka.group", \.kafka.group, "The consumer group: one for each project."),
    .optionalText(
      "kafka.instance_id", \.kafka.instanceID,
      "The static member's name, unique in the group and the same after a restart."),
    .integer("kafka.batch_records", \.kafka.batchRecords, 1...1_000_000, "Records of one batch."),
    .span(
      "kafka.batch_interval", \.kafka.batchInterval,
      "How long the first record of a batch waits for others."),
    .span(
      "kafka.wait_timeout", \.kafka.waitTimeout,
      "How long a push that is produced to a topic waits for the brokers and until it is applied; a caller may say otherwise (timeout_ms)."
    ),
    .optionalText(
      "kafka.properties_file", \.kafka.propertiesFile,
      "A file of librdkafka properties, name=value on each line: security.protocol, sasl.mechanism, sasl.password and others."
    ),
  ]

  private static let storeSettings: [Setting] = [
    .word("online.backend", \.online.backend, "Where the online state is kept."),
    .span(
      "online.snapshot_interval", \.online.snapshotInterval,
      "How often the online state is written to disk, while events come in."),
    .integer(
      "online.snapshot_events", \.online.snapshotEvents, 1_000...1_000_000_000,
      "The online state is written sooner once so many events came since, so that a start has few to replay."
    ),
    .word(
      "warehouse.backend", \.warehouse.backend, later: ["ducklake"],
      "Where events and predictions are kept."),
    .size(
      "warehouse.memory_limit", \.warehouse.memoryLimit, "The memory that the warehouse may use."),
    .integer(
      "warehouse.readers", \.warehouse.readers, 1...64, "Queries that read the warehouse at once."),
    .word(
      "blobs.backend", \.blobs.backend, later: ["azure"], "Where artifacts and baselines are kept."),
  ]

  private static let pathSettings: [Setting] = [
    .integer(
      "ingest.commit_queue_rows", \.ingest.commitQueueRows, 1_000...10_000_000,
      "Rows that wait for the next commit before senders are slowed down."),
    .span(
      "serving.predict_timeout", \.serving.predictTimeout,
      "How long a prediction may take; a caller may allow less (timeout_ms, a gRPC deadline), not more."
    ),
    .span(
      "serving.rollout_interval", \.serving.rolloutInterval,
      "How often the evidence of canaries is looked at; one that is decided is promoted or rolled back."
    ),
    .flag(
      "serving.native", \.serving.native,
      "Whether versions whose native form answers as their own library does are scored inside the platform; else workers do."
    ),
    .optionalText(
      "serving.lightgbm_library", \.serving.lightgbmLibrary,
      "LightGBM's C library (lib_lightgbm.so); without it, the one in the package of workers.python."
    ),
    .optionalText(
      "serving.xgboost_library", \.serving.xgboostLibrary,
      "XGBoost's C library (libxgboost.so); without it, the one in the package of workers.python."),
    .optionalText(
      "serving.default_model", \.serving.defaultModel,
      "The model that /invocations asks where the caller names none; not needed where there is only one."
    ),
    .alias(
      "registry.deploy_alias", \.registry.deployAlias,
      "The alias that names the version in production of each model: to set it, as by MLflow's client, is to promote."
    ),
    .integer(
      "quarantine.max_records", \.quarantine.maxRecords, 0...1_000_000_000,
      "Records that quarantine keeps; beyond, the oldest are dropped and counted."),
    .span(
      "quarantine.max_age", \.quarantine.maxAge,
      "How long quarantine keeps a record, settled or not."),
    .span(
      "retention.interval", \.retention.interval,
      "How often old events and quarantined records are looked for and dropped."),
    .integer(
      "prediction_log.buffer_rows", \.predictionLog.bufferRows, 100...10_000_000,
      "Predictions that wait to be logged; when it is full the oldest are dropped and counted."),
    .span(
      "prediction_log.flush_interval", \.predictionLog.flushInterval,
      "How often predictions are written; so much of the log is lost at most in a crash."),
    .integer(
      "prediction_log.flush_rows", \.predictionLog.flushRows, 1...1_000_000,
      "Predictions are also written once so many wait."),
    .span("monitoring.interval", \.monitoring.interval, "How often drift is computed."),
  ]

  private static let databaseSettings: [Setting] = [
    .flag(
      "database_service.enabled", \.databaseService.enabled,
      "Whether other processes may read and write the warehouse through queues on Redis (`redis.*`)."
    ),
    .optionalText(
      "database_service.namespace", \.databaseService.namespace,
      "What the names of the queues begin with, and then a colon: one for each platform on a Redis server."
    ),
    .integer(
      "database_service.concurrent_reads", \.databaseService.concurrentReads, 1...500,
      "Reads of other processes that run at once, beside those of the platform itself."),
    .integer(
      "database_service.write_batch", \.databaseService.writeBatch, 1...5_000,
      "Writes that are stored in one transaction."),
    .integer(
      "database_service.queue_jobs", \.databaseService.queueJobs, 1...1_000_000,
      "Jobs that may wait in a queue; beyond, the newest are refused with a time to come again."),
    .span(
      "database_service.answer_expiry", \.databaseService.answerExpiry,
      "How long an answer waits to be fetched."),
    .span(
      "database_service.read_timeout", \.databaseService.readTimeout,
      "How long a read may take; its sender may allow less, not more."),
  ]

  private static let operationSettings: [Setting] = [
    .span(
      "jobs.lease", \.jobs.lease, "A running job that was silent for so long is taken up again."),
    .integer(
      "jobs.max_attempts", \.jobs.maxAttempts, 1...100,
      "How often a job is tried before it has failed."),
    .span(
      "jobs.back_off", \.jobs.backOff,
      "The wait before the second attempt; it doubles with every further one."),
    .span("jobs.back_off_limit", \.jobs.backOffLimit, "The longest wait between two attempts."),
    .address(
      "lineage.openlineage_url", \.lineage.openlineageURL,
      "Where OpenLineage events of runs are also posted; without a path, to api/v1/lineage there."),
    .secret(
      "lineage.openlineage_token", \.lineage.openlineageToken,
      "What is sent there as bearer token."),
    .word("log.level", \.log.level, "The least important messages that are logged."),
    .word("log.format", \.log.format, "Lines for people, or JSON objects for machines."),
    .word(
      "clock.mode", \.clock.mode,
      "Whose time it is: the machine's, or a simulated one that only moves when it is told to."),
    .time(
      "clock.start", \.clock.start,
      "Where a simulated clock begins; without it at the present time."),
  ]

  static func named(_ name: String) -> Setting? { byName[name] }

  private static let byName = Dictionary(all.map { ($0.name, $0) }) { first, _ in first }

  /// Names of the sections: `server`, `workers`, …
  static let sections: [String] = all.reduce(into: []) { sections, setting in
    guard let dot = setting.name.firstIndex(of: ".") else { return }
    let section = String(setting.name[..<dot])
    if !sections.contains(section) { sections.append(section) }
  }

  /// Every key that the file may have.
  static let keys: [String] = all.map { $0.isSecret ? $0.fileKey : $0.name }
}
