/// Bounds of every queue, cache and input; nothing in the platform grows without one.
package enum Limits {
  /// Bytes of one REST body or one line of a pushed stream.
  package static let requestBytes = 64 << 20
  /// Bytes of one line of a CSV or JSONL file.
  package static let lineBytes = 2 << 20
  /// Rows that one push may carry.
  package static let pushRows = 100_000
  /// Rows that wait for the next group commit before producers are slowed.
  package static let commitQueueRows = 200_000
  /// Rows of a file that are validated in memory before the warehouse transaction begins.
  package static let fileBufferRows = 2_000_000
  /// Quarantined records of one file that are kept with their text.
  package static let quarantinePerFile = 100_000
  /// Values that a `unique` check remembers; beyond, those of the oldest events are forgotten.
  package static let uniqueValues = 1_000_000
  /// Quarantined records that one step of a replay takes.
  package static let replayRecords = 1_000
  /// Rows of `model_logs` that wait for the warehouse before the oldest are shed.
  package static let predictionLogRows = 100_000
  /// Rows that wait to be mirrored to versions that are only watched, before further ones are dropped.
  package static let shadowRows = 10_000
  /// Ways of versions of one model whose latencies are kept.
  package static let latencySeries = 64
  /// Slow calls of one model that are kept.
  package static let slowCalls = 20
  /// Labels of one call.
  package static let labelRows = 100_000
  /// Predictions that may wait for one model's workers.
  package static let predictionQueue = 1_024
  /// Tensors that one inference request may bring, or ask for.
  package static let inferenceTensors = 4_096
  /// Dimensions of a tensor.
  package static let tensorDimensions = 16
  /// Entity rows, and features, of one online read.
  package static let onlineReadRows = 10_000
  package static let onlineReadFeatures = 1_000
  /// Commands of one Redis connection that have no reply yet.
  package static let redisInFlight = 4_096
  /// Commands that wait for a place among those in flight before callers are refused.
  package static let redisWaiting = 16_384
  /// Bytes of states of one view that a process remembers having written to Redis.
  package static let redisCachedBytes = 64 << 20
  /// Bytes of one text or of one binary value that a Redis server may send.
  package static let redisReplyBytes = 256 << 20
  /// Workers of other machines.
  package static let remoteWorkers = 256
  /// Bytes of one frame between the platform and a worker.
  package static let frameBytes = 256 << 20
  /// Elements of one value of an array type without a length.
  package static let arrayElements = 65_536
  /// Values that a `last_k` keeps for each key, and for each tile of its window.
  package static let lastValues = 1_000
  /// Elements of an array type with a length; DuckDB keeps room for 2,048 such values in every chunk.
  package static let fixedArrayElements = 8_192
  /// Characters of an expression in a definition.
  package static let expressionCharacters = 4_096
  /// Levels of nesting of an expression.
  package static let expressionDepth = 64
  /// Names of entities, sources, views, features and models.
  package static let nameCharacters = 64
  /// Characters of the name that a producer gives itself; with a sequence behind it, it must fit an event id.
  package static let clientIDCharacters = 256
  /// OpenLineage events that wait to be written or sent before the oldest are dropped.
  package static let openLineageEvents = 1_000
  /// Bytes of the file of OpenLineage events before it is put aside.
  package static let openLineageFileBytes = 16 << 20
  /// Files of OpenLineage events that were put aside and are kept.
  package static let openLineageFiles = 4
  /// Lines of a job's log that are kept, the newest.
  package static let jobLogLines = 1_000
  /// Characters of one of them.
  package static let jobLogCharacters = 4_096
  /// Jobs whose logs are kept, the newest.
  package static let loggedJobs = 500
  /// Jobs that lineage looks at, the newest ones.
  package static let lineageJobs = 10_000
  /// Bytes of keys, values and headers in one batch of a stream.
  package static let streamBatchBytes = 16 << 20
  /// Records that wait to be delivered by a producer.
  package static let producerRecords = 100_000
  /// Pushes that may wait for brokers before further ones are refused.
  package static let producerCalls = 4_096
  /// Batches of a stream that are on their way to the stores at the same time.
  package static let streamBatchesInFlight = 4
  /// Changes of hands that are remembered of a partition; older ones are forgotten when they are stored.
  package static let streamShares = 1_000
  /// Jobs that may wait in a queue of the database service.
  package static let databaseQueueJobs = 10_000
  /// Bytes of one job of the database service.
  package static let databaseJobBytes = 4 << 20
  /// Bytes of jobs after which the database service takes no further ones at the same time.
  package static let databaseBatchBytes = 16 << 20
  /// Rows that one read through the database service may answer, and sets of parameters of one write.
  package static let databaseRows = 100_000
  /// Bytes of one answer of the database service.
  package static let databaseAnswerBytes = 32 << 20
  /// Answers that wait on one key to be fetched; beyond, the oldest are dropped.
  package static let databaseAnswers = 10_000
  /// Jobs that nobody could be told about and that are kept.
  package static let databaseDeadJobs = 1_000
  /// Jobs of which the warehouse remembers that they were applied.
  package static let databaseNotes = 1_000_000
  /// Records of a file that a replay keeps in memory.
  package static let replayedRecords = 5_000_000
  /// Files of the project that a Python function may import.
  package static let codeFiles = 1_000
  /// Minutes ahead of the clock of which freshness knows that events are dated in them.
  package static let futureMinutes = 1_440
  /// Characters of an event id.
  package static let eventIDCharacters = 512
  /// Models in the registry, defined or not.
  package static let registeredModels = 10_000
  /// Versions of one model that were registered from elsewhere.
  package static let registeredVersions = 10_000
  /// Aliases of one model, and tags of one model or version.
  package static let registryNotes = 1_000
  /// Registered versions that may be copies of copies.
  package static let registryCopies = 16
  /// Characters of where a registered version's artifact is.
  package static let sourceCharacters = 4_096
  package static let registryNameCharacters = 256
  package static let aliasCharacters = 255
  package static let tagKeyCharacters = 250
  package static let tagValueCharacters = 100_000
  /// A model's or version's description.
  package static let descriptionCharacters = 100_000
}
