// A member of a consumer group, set up as that of Dapr's Kafka component. The arguments are the brokers, the group, the
// topic and the strategy. Tells what it handles as lines of JSON, leaves when its input ends.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

var strategies = map[string]func() sarama.BalanceStrategy{
	sarama.RangeBalanceStrategyName:      sarama.NewBalanceStrategyRange,
	sarama.StickyBalanceStrategyName:     sarama.NewBalanceStrategySticky,
	sarama.RoundRobinBalanceStrategyName: sarama.NewBalanceStrategyRoundRobin,
}

var printing sync.Mutex

func tell(what map[string]any) {
	printing.Lock()
	defer printing.Unlock()
	line, err := json.Marshal(what)
	check(err)
	fmt.Println(string(line))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// member is what a session of the group calls.
type member struct{}

func (member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case <-session.Context().Done():
			return nil
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			tell(map[string]any{"handler": "message", "content": string(message.Value), "at": float64(time.Now().UnixMicro()) / 1000})
			session.MarkMessage(message, "")
		}
	}
}

func main() {
	brokers, group, topic, strategy := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	config := sarama.NewConfig()
	config.Version = sarama.V2_0_0_0
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Group.Session.Timeout = 3 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 100 * time.Millisecond
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategies[strategy]()}
	client, err := sarama.NewConsumerGroup(strings.Split(brokers, ","), group, config)
	check(err)
	ctx, leave := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		leave()
	}()
	for ctx.Err() == nil {
		if err := client.Consume(ctx, []string{topic}, member{}); err != nil && !errors.Is(err, context.Canceled) {
			tell(map[string]any{"handler": "failure", "error": err.Error()})
			time.Sleep(100 * time.Millisecond)
		}
	}
	check(client.Close())
}
