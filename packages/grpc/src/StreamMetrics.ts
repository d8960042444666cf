/**
 * What is counted and measured of streams between services, as metrics of `effect`. Each has the attribute `stream`, the id of the
 * stream.
 *
 * @since 0.1.0
 */
import * as Metric from "effect/Metric"

const sizes = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]

/**
 * Consumers that are connected to this producer.
 *
 * @category producing
 * @since 0.1.0
 */
export const consumers = Metric.gauge("sluice_stream_consumers", { description: "Consumers that are connected" })

/**
 * Events and placeholders that were written to consumers.
 *
 * @category producing
 * @since 0.1.0
 */
export const sent = Metric.counter("sluice_stream_sent_total", {
  description: "Events that were written to consumers",
  incremental: true
})

/**
 * How many events were written at a time.
 *
 * @category producing
 * @since 0.1.0
 */
export const sentBatch = Metric.histogram("sluice_stream_sent_events", {
  description: "Events that were written at a time",
  boundaries: sizes
})

/**
 * Events and placeholders that came from producers.
 *
 * @category consuming
 * @since 0.1.0
 */
export const received = Metric.counter("sluice_stream_received_total", {
  description: "Events that came from producers",
  incremental: true
})

/**
 * How many events came at a time.
 *
 * @category consuming
 * @since 0.1.0
 */
export const receivedBatch = Metric.histogram("sluice_stream_received_events", {
  description: "Events that came at a time",
  boundaries: sizes
})

/**
 * How often a consumer has connected again, or tried to.
 *
 * @category consuming
 * @since 0.1.0
 */
export const reconnects = Metric.counter("sluice_stream_reconnects_total", {
  description: "Attempts to connect again",
  incremental: true
})
