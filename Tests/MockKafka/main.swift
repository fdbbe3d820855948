// MockKafka BROKERS: librdkafka's mock cluster as a process of its own, so that tests speak the protocol over TCP.
//
// Prints its bootstrap list, then obeys one command a line on standard input, answering each with
// `ok` or `error …`, and ends with the input:
//   topic NAME PARTITIONS        creates a topic, one replica a broker
//   down BROKER | up BROKER      closes a broker's connections and port, or opens them again
//   rtt BROKER MILLISECONDS      delays every answer of a broker
//   leader TOPIC PARTITION BROKER
//   coordinator GROUP BROKER
//   fail TOPIC CODE              what is asked about a topic is answered with this error; 0 ends that
//   errors API CODE COUNT        the next COUNT requests of that kind fail so
import CRdKafka
import Foundation

func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

struct Cluster {
  let cluster: OpaquePointer

  /// Nil where the command is none.
  func obey(_ words: [String]) -> rd_kafka_resp_err_t? {
    switch (words.first ?? "", words.count) {
    case ("topic", 3):
      rd_kafka_mock_topic_create(cluster, words[1], Int32(words[2]) ?? 1, 1)
    case ("down", 2): rd_kafka_mock_broker_set_down(cluster, Int32(words[1]) ?? 0)
    case ("up", 2): rd_kafka_mock_broker_set_up(cluster, Int32(words[1]) ?? 0)
    case ("rtt", 3):
      rd_kafka_mock_broker_set_rtt(cluster, Int32(words[1]) ?? 0, Int32(words[2]) ?? 0)
    case ("leader", 4):
      rd_kafka_mock_partition_set_leader(
        cluster, words[1], Int32(words[2]) ?? 0, Int32(words[3]) ?? 0)
    case ("coordinator", 3):
      rd_kafka_mock_coordinator_set(cluster, "group", words[1], Int32(words[2]) ?? 0)
    case ("fail", 3): fail(words[1], Int32(words[2]) ?? 0)
    case ("errors", 4): fail(Int16(words[1]) ?? 0, Int32(words[2]) ?? 0, Int(words[3]) ?? 0)
    default: nil
    }
  }

  private func fail(_ topic: String, _ code: Int32) -> rd_kafka_resp_err_t {
    rd_kafka_mock_topic_set_error(cluster, topic, rd_kafka_resp_err_t(rawValue: code))
    return RD_KAFKA_RESP_ERR_NO_ERROR
  }

  private func fail(_ api: Int16, _ code: Int32, _ count: Int) -> rd_kafka_resp_err_t {
    let errors = [rd_kafka_resp_err_t](repeating: rd_kafka_resp_err_t(rawValue: code), count: count)
    rd_kafka_mock_push_request_errors_array(cluster, api, count, errors)
    return RD_KAFKA_RESP_ERR_NO_ERROR
  }
}

let brokers = CommandLine.arguments.dropFirst().first.flatMap { Int32($0) } ?? 1
var reason = [CChar](repeating: 0, count: 512)
guard let client = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), &reason, reason.count),
  let mock = rd_kafka_mock_cluster_new(client, brokers),
  let bootstrap = rd_kafka_mock_cluster_bootstraps(mock)
else {
  say("error no mock cluster")
  exit(1)
}
say("brokers \(String(cString: bootstrap))")
let cluster = Cluster(cluster: mock)
while let line = readLine() {
  let words = line.split(separator: " ").map(String.init)
  switch cluster.obey(words) {
  case RD_KAFKA_RESP_ERR_NO_ERROR: say("ok")
  case .some(let code): say("error \(code.rawValue)")
  case nil: say("error unknown command")
  }
}
rd_kafka_mock_cluster_destroy(mock)
rd_kafka_destroy(client)
